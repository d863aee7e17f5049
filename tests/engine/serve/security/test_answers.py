"""The shape of refusals."""

import asyncio
import json

from engine.serve.security.answers import refuse


def test_a_refusal_has_the_shape_of_the_webuis_errors_and_its_length():
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(refuse(send, 418, "Teapot", "Ask for “tea”.", {"retry-after": "5"}))
    start, body = sent
    headers = dict(start["headers"])
    assert start["status"] == 418
    assert headers[b"content-length"] == str(len(body["body"])).encode()
    assert headers[b"retry-after"] == b"5"
    assert json.loads(body["body"]) == {"error": "Teapot", "detail": "Ask for “tea”.", "body": "", "errors": ""}
