"""What the tabs share: the service, the menus of classes, and how an error is shown."""

from __future__ import annotations

import functools
import html
import importlib.util
import inspect
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from engine.errors import RequestError
from engine.failures import as_cytosynth_error
from engine.serve.public import without_folders
from engine.serve.sdapi.errors import ApiError
from engine.serve.sdapi.options import Options
from engine.serve.service import Cancelled, QueueFull, ServedClass, Service

if TYPE_CHECKING:
    from engine.serve.page.merges import Merges
    from engine.serve.page.trainings import Trainings

__all__ = ["Page", "installed"]


def installed(part: str) -> bool:
    """Return whether a part of the project is installed, such as the trainer."""
    return importlib.util.find_spec(part) is not None


class Page:
    """What the tabs share. One object serves all visitors, so it holds nothing of a visitor."""

    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}  # noqa: RUF012
    """Of every event: it is no part of an API, and Gradio's own animation does not cover its outputs."""

    def __init__(self, service: Service, folder: Path, trainings: Trainings, merges: Merges, options: Options) -> None:
        self.service, self.folder, self.trainings = service, folder, trainings
        self.merges, self.options = merges, options
        self.menus: list[gr.Dropdown] = []
        """The menus of classes, which change if a class is trained."""

    def menu(self, label: str = "Class", *, none: str | None = None) -> gr.Dropdown:
        """Add a menu of all classes. none: the first choice, which means no class."""
        first = [] if none is None else [(none, "")]
        choices = [*first, *self._choices()]
        value = self.default_class if none is None else choices[0][1]
        menu = gr.Dropdown(choices, value=value, label=label, elem_classes=["classes"])
        if none is None:
            self.menus.append(menu)
        return menu

    @property
    def default_class(self) -> str:
        """The value of the class that menus begin with."""
        chosen, _ = self.options.chosen({}, keep=False)
        return chosen.served.model

    def first_menus(self) -> Any:
        """Return the update of each menu of a page that was opened."""
        return self.class_menus(value=self.default_class)

    def class_menus(self, **more: Any) -> Any:
        """Return the update of each menu."""
        updates = [gr.update(choices=self._choices(), **more) for _ in self.menus]
        # Gradio takes a list for the value of an only output.
        return updates if len(updates) > 1 else updates[0]

    def _choices(self) -> list[tuple[str, str]]:
        several = len(self.service.bundles) > 1
        return [(f"{one.name} ({one.bundle})" if several else one.name, one.model) for one in self.service.classes()]

    def chosen(self, model: str) -> ServedClass:
        """Return the class of a menu's value. Raises RequestError."""
        for one in self.service.classes():
            if one.model == model:
                return one
        raise RequestError("Class", found=model or "none", expected="a class of the menu", fix="choose a class")

    def new_folder(self) -> Path:
        """Return a new folder for files of the page, with a name that nobody can guess."""
        folder = self.folder / secrets.token_hex(16)
        folder.mkdir(mode=0o700)
        return folder

    def guarded(self, action: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function of an event, whose errors are shown in the engine's words."""

        if _is_generator(action):

            @functools.wraps(action)
            def steps(*values: Any) -> Iterator[Any]:
                with self.shown():
                    yield from action(*values)

            return steps

        @functools.wraps(action)
        def run(*values: Any) -> Any:
            with self.shown():
                return action(*values)

        return run

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Turn an error that a user can understand into one that Gradio shows."""
        try:
            yield
        except gr.Error:
            raise
        except Exception as error:
            known = as_cytosynth_error(error)
            if known is None and not isinstance(error, (QueueFull, Cancelled, ApiError)):
                raise
            raise gr.Error(self.words_of(known or error), duration=None, print_exception=False) from error

    def words_of(self, error: Exception) -> str:
        """Return the text of an error as HTML, without folders of this machine."""
        return html.escape(self.without_folders(str(error))).replace("\n", "<br>")

    def without_folders(self, text: str) -> str:
        """Return a text in which files have their names alone."""
        return without_folders(text, self.service.jobs.private)


def _is_generator(action: Callable[..., Any]) -> bool:
    return inspect.isgeneratorfunction(inspect.unwrap(action))
