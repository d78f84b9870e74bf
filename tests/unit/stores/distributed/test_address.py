from __future__ import annotations

import pytest

from imagefinder.core.errors import SettingsError
from imagefinder.stores.distributed.address import Address


def test_location_is_taken_apart():
    address = Address.of_collection(
        "postgresql://me:s%40cret@one:5433,two,[::1]:1/data%20base/shop?sslmode=require&options=-c%20a%3Db"
    )
    assert dict(address.parameters) == {
        "user": "me",
        "password": "s@cret",
        "host": "one,two,::1",
        "port": "5433,,1",
        "dbname": "data base",
        "sslmode": "require",
        "options": "-c a=b",
    }
    assert address.collection == "shop"
    assert "cret" not in f"{address} {address.shown}"
    assert address.shown == "postgresql://one:5433,two,[::1]:1/data%20base/shop"


def test_environment_of_libpq_names_what_is_missing():
    assert dict(Address.of_collection("postgresql:///imagefinder/shop").parameters) == {"dbname": "imagefinder"}


def test_socket_folder_is_a_host():
    address = Address.of_collection("postgresql://%2Frun%2Fpostgresql/imagefinder/shop")
    assert dict(address.parameters)["host"] == "/run/postgresql"


def test_database_and_collection():
    address = Address.of_collection("postgresql://db/imagefinder/shop")
    assert address.database == Address.of_database("postgresql://db/imagefinder")
    assert address.database.of("shop") == address


@pytest.mark.parametrize(
    "location",
    [
        "postgresql://",
        "postgresql://db",
        "postgresql://db/",
        "postgresql://db/imagefinder",
        "postgresql://db/imagefinder/",
        "postgresql://db/imagefinder/Shop",
        "postgresql://db/imagefinder/shop/more",
        "postgresql://db:port/imagefinder/shop",
        "postgresql://a:b@c:d@db/imagefinder/shop",
        "postgresql://me:sec/ret@db/imagefinder/shop",
        f"postgresql://db/imagefinder/{'a' * 64}",
    ],
)
def test_malformed_location_is_refused_without_its_password(location):
    with pytest.raises(SettingsError) as caught:
        Address.of_collection(location)
    assert "ret@" not in f"{caught.value} {caught.value.hint}"
    assert "b@c" not in f"{caught.value} {caught.value.hint}"
