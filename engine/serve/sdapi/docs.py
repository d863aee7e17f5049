"""A page that shows the API. That of FastAPI would load its scripts from another host."""

from __future__ import annotations

from html import escape
from typing import Any

__all__ = ["docs_page"]

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code,td{font-family:ui-monospace,monospace;font-size:14px}td,th{padding:0 1rem 0 0;text-align:left}"
    "details{margin:.3rem 0}"
)


def docs_page(schema: dict[str, Any]) -> str:
    """Return the page of an OpenAPI schema."""
    models = schema.get("components", {}).get("schemas", {})
    parts = [
        _operation(path, method, operation, models)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]
    title = escape(f"{schema['info']['title']} {schema['info']['version']}")
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>"
        f"<h1>{title}</h1><p>The schema: <a href=/openapi.json>openapi.json</a></p>{''.join(parts)}</html>"
    )


def _operation(path: str, method: str, operation: dict[str, Any], models: dict[str, Any]) -> str:
    words = escape(operation.get("description") or operation.get("summary", ""))
    fields = _fields(operation.get("requestBody", {}), models)
    head = f"<code>{method.upper()} {escape(path)}</code> {words}"
    return f"<details><summary>{head}</summary>{fields}</details>" if fields else f"<p>{head}</p>"


def _fields(body: dict[str, Any], models: dict[str, Any]) -> str:
    """Return the fields of a body as a table, or nothing without a body of a known model."""
    reference = body.get("content", {}).get("application/json", {}).get("schema", {}).get("$ref", "")
    model = models.get(reference.rpartition("/")[2], {})
    rows = "".join(
        f"<tr><td>{escape(name)}<td>{escape(_kind(field))}<td>{escape(str(field.get('default', '')))}"
        for name, field in model.get("properties", {}).items()
    )
    return f"<table><tr><th>field<th>type<th>default{rows}</table>" if rows else ""


def _kind(field: dict[str, Any]) -> str:
    kinds = [one.get("type", "") for one in field.get("anyOf", [field])]
    return " or ".join(kind for kind in kinds if kind)
