from engine.serve.sdapi.docs import docs_page


def test_the_page_shows_every_route_with_its_fields_and_loads_nothing(live):
    schema = live.get("/openapi.json").json()
    page = docs_page(schema)
    assert all(path in page for path in schema["paths"])
    assert "denoising_strength" in page
    assert "src=" not in page
    assert "//" not in page.replace("<!doctype", "")
    assert live.get("/docs").text == page
