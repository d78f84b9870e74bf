def test_all_methods_are_listed_with_hints_for_those_not_ready(call, bare):
    answer = call(*bare, "methods")
    rows = {line.split()[0]: line.split()[1] for line in answer.out.splitlines()[1:] if line}
    known = {"beit": "no", "efficientnet-lite0": "yes", "resnet50": "no", "sift": "yes"}
    assert {**rows, **known} == rows
    assert "imagefinder models pull beit" in answer.out


def test_json(call, bare):
    states = {state["name"]: state for state in call(*bare, "methods", "--json").json}
    assert states["sift"]["ready"]
    assert states["sift"]["score"] == "matches"
    assert not states["resnet50"]["ready"]
    assert states["resnet50"]["hint"]
