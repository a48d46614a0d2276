// The figure of the front page plays for a while, unless motion is unwelcome or the reader was quicker.
(() => {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  let touched = false;
  for (const event of ["pointerdown", "keydown"]) addEventListener(event, () => { touched = true; }, { once: true, capture: true });
  const press = (pressed) => {
    const play = document.querySelector(".fx-play");
    if (!touched && play?.getAttribute("aria-pressed") === pressed) play.click();
  };
  setTimeout(press, 1500, "false");
  setTimeout(press, 16000, "true");
})();
