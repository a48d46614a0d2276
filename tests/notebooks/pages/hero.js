// The figure of the front page plays once, unless motion is unwelcome or the reader was quicker.
(() => {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  let touched = false;
  for (const event of ["pointerdown", "keydown"]) addEventListener(event, () => { touched = true; }, { once: true, capture: true });
  setTimeout(() => {
    const play = document.querySelector(".fx-play");
    if (!touched && play?.getAttribute("aria-pressed") === "false") play.click();
  }, 1500);
})();
