// Figures are pages in frames: each says how high it is, and is told the theme of the site.
(() => {
  const frames = () => [...document.querySelectorAll("iframe.live")];
  const theme = () => document.documentElement.dataset.theme ?? "light";
  const tell = (frame) => frame.contentWindow.postMessage({ fsafTheme: theme() }, "*");
  addEventListener("message", ({ source, data }) => {
    const frame = frames().find((one) => one.contentWindow === source);
    if (!frame || !data?.fsafHeight) return;
    frame.style.height = `${Math.ceil(data.fsafHeight) + 2}px`;
    tell(frame);
  });
  new MutationObserver(() => frames().forEach(tell))
    .observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
})();
