"""Protocol buffers: fields with their options, methods; what is none of it says nothing."""

from __future__ import annotations

import pytest
from timed import within

from vramguard.source import Document, read
from vramguard.source.proto import Proto

TEXT = """\
syntax = "proto3";  // the version
package shop.v1;
import "buf/validate/validate.proto";
option go_package = "a;b";

/* message NotThis { double price = 1; } */
message Quote {
  option (a.b) = {c: 1};
  reserved 4, 5;
  reserved "old";
  enum Kind { KIND_UNSPECIFIED = 0; KIND_A = 1 [deprecated = true]; }
  Kind kind = 1;
  repeated double prices = 2 [packed = true, (buf.validate.field).repeated.items.double = {gt: 0 lt: 9e5}];
  oneof amount {
    .shop.v1.Money money = 3;
    float fee = 6 [(validate.rules).float.gte = 0.5];
  }
  map<string, double> by_region = 7;
  message Line { optional int64 quantity = 1 [default = -1]; }
  Line line = 8;
  double note = 9 [json_name = "a;}b"];
}
extend Quote { optional string extra = 100; }
service Pricing {
  option deprecated = true;
  rpc Predict(PredictRequest) returns (stream Quote) { option (google.api.http) = { post: "/v1" body: "*" }; }
  rpc Other (.shop.v1.A) returns (shop.v1.Quote);
}
"""


def proto(text: str) -> Proto:
    document = read("a.proto", text.encode())
    assert isinstance(document, Document)
    assert isinstance(document.value, Proto)
    return document.value


def test_fields() -> None:
    found = [(one.message, one.type, one.name, one.label) for one in proto(TEXT).fields]
    assert found == [
        ("Quote", "Kind", "kind", ""),
        ("Quote", "double", "prices", "repeated"),
        ("Quote", ".shop.v1.Money", "money", ""),
        ("Quote", "float", "fee", ""),
        ("Quote", "double", "by_region", "repeated"),
        ("Quote.Line", "int64", "quantity", "optional"),
        ("Quote", "Line", "line", ""),
        ("Quote", "double", "note", ""),
    ]


def test_options_are_paths_with_values() -> None:
    options = {one.name: dict(one.options) for one in proto(TEXT).fields}
    assert options["prices"] == {
        "packed": "true",
        "buf.validate.field.repeated.items.double.gt": "0",
        "buf.validate.field.repeated.items.double.lt": "9e5",
    }
    assert options["fee"] == {"validate.rules.float.gte": "0.5"}
    assert options["quantity"] == {"default": "-1"}


def test_methods() -> None:
    found = [(one.service, one.name, one.request, one.response) for one in proto(TEXT).methods]
    assert found == [
        ("Pricing", "Predict", "PredictRequest", "Quote"),
        ("Pricing", "Other", "shop.v1.A", "shop.v1.Quote"),
    ]


def test_places() -> None:
    (fee,) = [one for one in proto(TEXT).fields if one.name == "fee"]
    line = TEXT.split("\n")[fee.span.line - 1]
    assert line[fee.span.column - 1 : fee.span.end_column - 1] == "float fee"


@pytest.mark.parametrize(
    "text", ["", "}}}}", "message", "message A {", "message A { double", "message A { double p =", "{"]
)
def test_what_is_cut_off_says_nothing(text: str) -> None:
    assert proto(text).fields == []


@pytest.mark.parametrize(
    "text",
    [
        "message A {" * 20_000,
        "message A { double p = 1 [" + "a = {" * 20_000,
        "message A { double p = 1 [" + "(a." * 20_000,
        "/*" * 100_000,
        '"' * 100_000,
        "service A { rpc " + "(" * 100_000,
        "message A { oneof b { " * 20_000,
        "message A { double p = 1; }\n" * 20_000,
    ],
)
def test_hostile_text_is_read_at_once(text: str) -> None:
    with within(5):
        assert len(proto(text).fields) in (0, 1, 20_000)
