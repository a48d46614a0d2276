"""The kit under its smallest figure: sliders, undo and the theme reach the picture."""

from pathlib import Path

from focal_figure import example
from lab_driver import until

from fsaf_core.viz.widgets.kit import THEMES, Figure


def test_a_small_figure_works_on_its_page(browser, tmp_path: Path) -> None:
    figure = example()
    assert "focal loss 0.173" in str(figure.picture())
    figure.save_html(tmp_path / "focal.html")
    page, complaints = browser.new_page(), []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto((tmp_path / "focal.html").as_uri())
    says = page.locator(".focal text")
    until(lambda: says.text_content() == "focal loss 0.173", 5, "no loss")
    page.get_by_label("gamma").fill("0")
    until(lambda: says.text_content() == "focal loss 0.693", 5, "the slider does nothing")
    page.get_by_role("button", name="undo").click()
    until(lambda: says.text_content() == "focal loss 0.173", 5, "undo does nothing")
    page.emulate_media(color_scheme="dark")
    dark = THEMES["dark"]["levels"][0]
    until(lambda: page.locator(".focal rect").get_attribute("fill") == dark, 5, "not dark")
    assert not complaints
    page.close()


def test_a_figure_is_found_again_by_its_number() -> None:
    figure = example()
    assert Figure.numbered(figure.number) is figure
