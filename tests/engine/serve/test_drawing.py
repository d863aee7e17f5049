import io

import numpy as np
from PIL import Image

from engine.api.engine import Engine
from engine.output.picture_texts import read_texts


def test_a_picture_equals_that_of_the_library_and_states_how_it_was_made(service, drawing, tiny_bundle):
    options = {"num_inference_steps": 3, "guidance_scale": 3.0, "batch_size": 2}
    made = service.submit(drawing(3, seed=7, **options)).result(60)
    batches = list(Engine.open(str(tiny_bundle)).generate("cyt_mast", 3, seed=7, **options))
    expected = np.concatenate([batch.images for batch in batches])
    assert [one.seed for one in made] == [7, 8, 9]
    for one, pixels in zip(made, expected, strict=True):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(one.png))), pixels)
        texts = read_texts(io.BytesIO(one.png))
        assert texts.comment == one.infotext
        assert one.description["seed"] == one.seed
        assert one.description["batch_size"] == 2
        assert '"synthetic": true' in texts.chunks["cytosynth"]


def test_uploaded_pictures_are_private_and_removed_at_the_end(service, drawing):
    from dataclasses import replace

    source = service.submit(drawing()).result(60)[0].png
    request = replace(drawing(strength=0.5), initial=(source,))
    uploads = service.settings.data / "uploads"
    ticket = service.submit(request)
    assert service.settings.data.stat().st_mode & 0o777 == 0o700
    made = ticket.result(60)[0]
    assert made.description["derived"] is True
    assert made.description["initial_synthetic"] is True
    assert list(uploads.iterdir()) == []
