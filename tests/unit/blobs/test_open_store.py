from __future__ import annotations

from pathlib import Path

import pytest

from palomar.server.blobs.layout import new_key
from palomar.server.blobs.local import LocalBlobStore
from palomar.server.blobs.obstore_store import ObstoreBlobStore
from palomar.server.blobs.open import RemoteOptions, open_store

REMOTE_URLS = [
    "s3://bucket",
    "s3://bucket/",
    "s3://bucket/some/prefix?region=eu-central-1",
    "s3://bucket/prefix?endpoint=https://s3.example.org&virtual_host=true",
    "s3://bucket?endpoint=http://127.0.0.1:9000",
    "s3://bucket?endpoint=http://[::1]:9000",
    "s3://bucket?endpoint=http://localhost:9000",
    "s3://bucket?endpoint=http://minio.internal:9000&allow_http=true",
    "az://container/prefix?account=name",
]

BAD_URLS = {
    "s3://user:secret@bucket": "credentials do not belong",
    "s3://bucket?endpoint=http://minio.internal:9000": "no TLS",
    "s3://bucket?endpoint=http://127.0.0.1.example.org": "no TLS",
    "s3://bucket?endpoint=ftp://host": "http:// or https://",
    "s3://bucket?endpiont=https://host": r"unknown parameters \['endpiont'\]",
    "s3://bucket?region=a&region=b": "twice",
    "s3://bucket?virtual_host=maybe": "true or false",
    "s3://bucket/../other": "plain prefix",
    "s3://bucket/a//b": "plain prefix",
    "s3://bucket/%2e%2e": "plain prefix",
    "s3://": "not the name of a bucket",
    "s3://bucket#fragment": "'#' part",
    "gs://bucket?region=x": "known for gs: none",
    "relative/path": "none of",
    "~/blobs": "none of",
    "ftp://host/path": "none of",
    "memory:///": "none of",
    "http://host/path": "none of",
    "file://host/path": "file:///absolute/path",
    "file:relative": "file:///absolute/path",
    "file:///path?x=1": "file:///absolute/path",
}


@pytest.mark.parametrize("url", [None, ""])
async def test_the_default_is_a_folder_in_the_data_folder(tmp_path: Path, url: str | None):
    store = open_store(url, data_dir=tmp_path)
    assert isinstance(store, LocalBlobStore)
    assert store.local_path(new_key()).is_relative_to(tmp_path / "blobs")
    await store.close()


@pytest.mark.parametrize("form", ["{}", "file://{}", "file://localhost{}"])
async def test_a_path_names_a_folder(tmp_path: Path, form: str):
    folder = tmp_path / "my blobs"
    url = form.format(folder if form == "{}" else str(folder).replace(" ", "%20"))
    store = open_store(url, data_dir=tmp_path / "unused")
    assert store.local_path(new_key()).is_relative_to(folder)
    assert not (tmp_path / "unused").exists()
    await store.close()


@pytest.mark.parametrize("url", REMOTE_URLS)
def test_an_object_store_is_opened_without_contact(tmp_path: Path, url: str):
    assert isinstance(open_store(url, data_dir=tmp_path), ObstoreBlobStore)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("url", "reason"), BAD_URLS.items())
def test_a_bad_url_is_refused_in_one_sentence(tmp_path: Path, url: str, reason: str):
    with pytest.raises(ValueError, match=reason) as caught:
        open_store(url, data_dir=tmp_path)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_options_do_not_show_their_secrets():
    options = RemoteOptions(access_key_id="id", secret_access_key="hidden-key", session_token="hidden-token")
    assert "hidden" not in repr(options)
