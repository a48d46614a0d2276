// In a frame of the site: the page says how high it is, and takes the theme that the site has.
(() => {
  const tell = () => parent.postMessage({ fsafHeight: document.querySelector("main").scrollHeight }, "*");
  new ResizeObserver(tell).observe(document.querySelector("main"));
  addEventListener("message", ({ data }) => {
    if (data?.fsafTheme) document.body.dataset.jpThemeLight = data.fsafTheme === "light"; // as JupyterLab says it
  });
})();
