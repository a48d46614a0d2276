"""What a training calls while it runs."""

from typing import Any


class Callback:
    """Methods that `train` calls; a subclass overrides those that it needs.

    Under torchrun only the first process calls them. A resumed run knows nothing of the callbacks
    before it, so hand them in again.
    """

    def on_step(self, trainer: Any, entry: dict[str, Any] | None) -> None:
        """Follow a step.

        Args:
            trainer: the `Trainer`; `trainer.step` steps are done, `trainer.detector` has learned.
            entry: the line that this step added to log.jsonl, with `step`, `loss` and the mean
                losses since the line before; None if it added none. `levels` is in it only if the
                assigner selects levels. To read more values from the device makes every step wait.
        """

    def on_validation(self, trainer: Any, metrics: dict[str, Any]) -> None:
        """Follow a validation.

        Args:
            trainer: the `Trainer`.
            metrics: such as `AP`, as in `EvaluationResult`.
        """

    def on_end(self, trainer: Any, metrics: dict[str, Any]) -> None:
        """Follow the end of a training that was not stopped; all its files are written.

        Args:
            trainer: the `Trainer`.
            metrics: of the last validation, as in metrics.json.
        """
