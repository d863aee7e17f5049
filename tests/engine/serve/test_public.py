from pathlib import Path

from engine.serve.public import without_folders

DATA = Path("/srv/my data/served")


def test_files_have_their_names_alone():
    text = f"The picture {DATA}/jobs/ab/x.png and /etc/ssl/key.pem, in {DATA}: see http://localhost:1/x"
    found = without_folders(text, [DATA, Path("/srv")])
    assert found == "The picture x.png and key.pem, in (the server's folder): see http://localhost:1/x"


def test_words_that_are_like_a_folder_stay():
    text = "A class that is served already, 3/4 of 1/2/3, and/or served/jobs/ab/x.png"
    assert without_folders(text, [Path("served"), Path()]) == text.replace("served/jobs/ab/", "")
