import os
import re
import signal
import urllib.request


def test_an_unsafe_host_or_an_unknown_bundle_is_refused_before_anything_is_written(in_process, tmp_path):
    for options, words in (
        (["--host", "0.0.0.0"], "--no-auth"),  # noqa: S104
        (["--bundle", tmp_path / "missing"], "no such folder"),
    ):
        done = in_process("engine", "serve", "--data", tmp_path / "data", *options)
        assert done.returncode == 2, done.stderr
        assert words in done.stderr
        assert not (tmp_path / "data").exists()


def test_the_command_says_where_it_listens_and_ends_with_the_signal(start_command, tiny_bundle, tmp_path):
    options = ["--bundle", tiny_bundle, "--port", 0, "--data", tmp_path / "data"]
    process = start_command("engine", "serve", *options)
    address = re.search(r"http://\S+", process.stdout.readline())[0]
    assert urllib.request.urlopen(f"{address}/internal/ping").read() == b"{}"  # noqa: S310
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(30) == 0
