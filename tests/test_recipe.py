"""Recipes: what the package ships, what is refused and how, overrides, differences, and YAML as plain values."""

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from zerosum.errors import ZerosumError, at_command_line
from zerosum.loading import dotted, flat, packaged, parse_overrides
from zerosum.modalities.picture import section
from zerosum.plainyaml import read_yaml
from zerosum.recipe import Cycle, Optimizer, Recipe

NAMES = [
    "cdcgan-mnist",
    "cgan-mnist",
    "dcgan-faces",
    "digits",
    "faces",
    "faces-attributes",
    "gan-mnist",
    "mnist",
    "wgan-gp-faces",
    "wgan-gp-mnist",
]


def message(values: dict[str, Any]) -> str:
    """What is said about wrong values."""
    with pytest.raises(ZerosumError) as caught:
        Recipe.parse(values)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def message_of_override(key: str, value: Any) -> str:
    with pytest.raises(ZerosumError) as caught:
        Recipe().with_overrides({key: value})
    assert "\n" not in str(caught.value)
    return str(caught.value)


# what the package ships


def test_the_package_has_its_recipes() -> None:
    assert set(NAMES) <= set(packaged())


@pytest.mark.parametrize("name", sorted(packaged()))
def test_a_packaged_recipe_loads_and_round_trips(name: str, tmp_path: Path) -> None:
    recipe = Recipe.load(name)
    assert recipe.name == name
    assert 10 <= len(recipe.about) <= 100
    assert Recipe.parse(read_yaml(recipe.to_yaml(), "copy")) == recipe
    path = tmp_path / "copy.yaml"
    path.write_text(recipe.to_yaml(), encoding="utf-8")
    copy = Recipe.load(path)
    assert copy == recipe
    assert copy.differences(recipe) == {}
    assert copy.to_yaml() == recipe.to_yaml()


@pytest.mark.parametrize("name", sorted(packaged()))
def test_a_packaged_recipe_begins_with_a_comment(name: str) -> None:
    assert packaged()[name].read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        (
            "dcgan-faces",
            {
                "data.resolution": 32,
                "generator.width": 32,
                "latent.size": 100,
                "optimizer.lr": 2e-4,
                "batch": 128,
                "steps": 8000,
            },
        ),
        (
            "cdcgan-mnist",
            {"data.resolution": 32, "condition.method": "join", "generator.width": 128, "optimizer.drops": [10, 15]},
        ),
        (
            "wgan-gp-mnist",
            {"penalties.gradient.weight": 10, "critic.steps": 5, "optimizer.lr": 1e-4, "optimizer.betas": [0, 0.9]},
        ),
        ("gan-mnist", {"generator.network": "mlp", "critic.network": "mlp", "condition.method": "none"}),
        ("digits", {"data.uri": "digits", "data.resolution": 16, "objective": "non-saturating"}),
    ],
)
def test_packaged_recipes_say_what_they_promise(name: str, values: dict[str, Any]) -> None:
    plain = flat(Recipe.load(name).plain())
    assert {key: plain[key] for key in values} == values


def test_recipes_for_faces_name_no_data() -> None:
    for name in NAMES:
        assert (Recipe.load(name).data.uri is None) == ("faces" in name)


def test_faces_attributes_has_gender_and_age() -> None:
    attributes = Recipe.load("faces-attributes").data.attributes
    assert attributes is not None
    assert attributes["gender"] == ["female", "male"]
    assert attributes["age"] == {"young": (10, 30), "adult": (30, 55), "old": (55, 120)}


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(ZerosumError, match="did you mean 'digits'"):
        Recipe.load("digit")


def test_missing_recipe_file_is_named() -> None:
    with pytest.raises(ZerosumError, match=r"nowhere\.yaml does not exist"):
        Recipe.load("nowhere.yaml")


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words\n", "3\n"])
def test_a_file_that_is_no_mapping_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ZerosumError, match="expected 'key: value' lines"):
        Recipe.load(path)


def test_a_file_is_named_after_itself_unless_it_says_otherwise(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("steps: 5\n", encoding="utf-8")
    (tmp_path / "other.yml").write_text("name: own\nsteps: 5\n", encoding="utf-8")
    assert Recipe.load(tmp_path / "mine.yaml").name == "mine"
    assert Recipe.load(tmp_path / "other.yml", {"steps": 7}).name == "own"


def test_a_binary_file_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "picture.yaml").write_bytes(bytes(range(256)))
    with pytest.raises(ZerosumError, match=r"picture\.yaml"):
        Recipe.load(tmp_path / "picture.yaml")


# what is refused, and how


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("stepz", "steps"),
        ("step", "steps"),
        ("batchsize", "batch"),
        ("objectiv", "objective"),
        ("penaltis", "penalties"),
        ("presision", "precision"),
        ("optimiser", "optimizer"),
        ("generater", "generator"),
        ("latant", "latent"),
        ("conditon", "condition"),
    ],
)
def test_a_misspelt_top_level_key_names_the_nearest(wrong: str, right: str) -> None:
    said = message({wrong: 3})
    assert f"unknown key '{wrong}'" in said
    assert f"did you mean '{right}" in said


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("data.resolutoin", "data.resolution"),
        ("data.chanels", "data.channels"),
        ("latent.sise", "latent.size"),
        ("optimizer.beta", "optimizer.betas"),
        ("penalties.r1.wieght", "penalties.r1.weight"),
        ("penalties.gradient.weigth", "penalties.gradient.weight"),
        ("optimiser.lr", "optimizer.lr"),
        ("lr", "optimizer.lr"),
        ("resolution", "data.resolution"),
        ("half_life", "average.half_life"),
        ("penaltis.r1.weight", "penalties.r1.weight"),
        ("penalty.gradient.weight", "penalties.gradient.weight"),
        ("generater.lr", "generator.lr"),
        ("seed.x", "seed"),
    ],
)
def test_a_misspelt_override_names_the_nearest(wrong: str, right: str) -> None:
    said = message_of_override(wrong, 1)
    assert f"'{wrong}'" in said
    assert f"did you mean '{right}'?" in said


def test_a_key_near_to_none_lists_the_top_level() -> None:
    said = message_of_override("qqqqqqqq", 1)
    assert "choose from" in said
    assert "optimizer" in said


@pytest.mark.parametrize(
    ("key", "value", "hint"),
    [
        ("steps", "many", "integer"),
        ("steps", 10.0, "integer"),
        ("steps", True, "integer"),
        ("steps", "10", "integer"),
        ("steps", 0, "greater than 0"),
        ("steps", -5, "greater than 0"),
        ("steps", None, "integer"),
        ("batch", 0, "greater than or equal to 1"),
        ("batch", 1, "2 or more"),
        ("seed", -1, "greater than or equal to 0"),
        ("seed", 2**31, "less than 2147483648"),
        ("optimizer.lr", -0.1, "greater than or equal to 0"),
        ("optimizer.lr", "fast", "number"),
        ("optimizer.lr", True, "number"),
        ("optimizer.lr", math.nan, ""),
        ("optimizer.lr", math.inf, "finite"),
        ("optimizer.betas", [0.5, 1.0], "less than 1"),
        ("optimizer.betas", [0.5], ""),
        ("optimizer.betas", [0.1, 0.2, 0.3], ""),
        ("optimizer.betas", 0.5, ""),
        ("optimizer.decay", 0.5, "greater than or equal to 1"),
        ("optimizer.name", "adamw", "'adam', 'sgd' or 'rmsprop'"),
        ("condition.method", "joined", "'join'"),
        ("latent.distribution", "gauss", "'normal' or 'uniform'"),
        ("latent.bound", 0, "greater than 0"),
        ("data.resolution", 4, "greater than or equal to 8"),
        ("data.resolution", 1024, "less than or equal to 256"),
        ("data.channels", 2, "1, 3 or 4"),
        ("data.mirror", 1, "boolean"),
        ("data.mirror", "yes", "boolean"),
        ("data.bad_share", 1.5, "less than or equal to 1"),
        ("data.memory", 0, "greater than 0"),
        ("data.uri", 3, "string"),
        ("penalties.r1", 5, "dictionary"),
        ("penalties.r1.every", 0, "greater than 0"),
        ("critic", 3, "dictionary"),
        ("critic.steps", 0, "greater than 0"),
        ("critic.train", 1, "boolean"),
        ("precision", "fp16", "'bf16'"),
        ("device", "tpu", ""),
        ("device", "cuda:", ""),
        ("name", "../up", ""),
        ("name", "", ""),
        ("name", "a/b", ""),
        ("name", "x" * 65, ""),
    ],
)
def test_a_wrong_value_names_its_key_and_what_it_should_be(key: str, value: Any, hint: str) -> None:
    said = message_of_override(key, value)
    assert key in said
    assert hint in said
    assert "Input" not in said


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "key",
    [
        "data.bad_share",
        "data.memory",
        "latent.bound",
        "condition.weight",
        "generator.lr",
        "critic.lr",
        "penalties.gradient.weight",
        "penalties.r1.weight",
        "penalties.r2.weight",
        "penalties.clip",
        "optimizer.lr",
        "optimizer.momentum_epochs",
        "optimizer.drop_factor",
        "optimizer.decay",
        "optimizer.min_lr",
        "average.half_life",
        "average.ramp",
    ],
)
def test_no_number_is_infinite_or_nan(key: str, value: float) -> None:
    assert key in message_of_override(key, value)


@pytest.mark.parametrize("key", ["optimizer.betas", "optimizer.momentum", "optimizer.drops"])
def test_no_number_of_a_pair_is_nan(key: str) -> None:
    assert key in message_of_override(key, [0.5, math.nan])


@pytest.mark.parametrize(
    ("key", "value", "part"),
    [
        ("optimizer.betas", [0.1, 0.2, 0.3], "should Tuple"),
        ("name", "../up", "should String"),
        ("device", "tpu", "should String"),
    ],
)
def test_messages_read_as_one_sentence(key: str, value: Any, part: str) -> None:
    assert part not in message_of_override(key, value)


@pytest.mark.parametrize("value", [[0, 1], 3, "female"])
def test_wrong_attributes_name_the_attribute_without_types_of_the_program(value: Any) -> None:
    said = message_of_override("data.attributes", {"gender": value})
    assert "data.attributes.gender" in said
    assert "list[str]" not in said


def test_bins_must_rise() -> None:
    said = message_of_override("data.attributes", {"age": {"young": [30, 10]}})
    assert "data.attributes.age" in said
    assert "low < high" in said
    assert "data.attributes.age" in message_of_override("data.attributes", {"age": {"young": [math.nan, 10]}})


def test_a_bin_may_have_no_end() -> None:
    recipe = Recipe().with_overrides({"data.attributes": {"age": {"old": [55, math.inf]}}})
    again = Recipe.parse(read_yaml(recipe.to_yaml(), "copy"))
    assert again == recipe
    assert again.data.attributes == {"age": {"old": (55.0, math.inf)}}


def test_one_player_must_train() -> None:
    said = message({"generator": {"train": False}, "critic": {"train": False}})
    assert "generator.train and critic.train" in said
    assert Recipe.parse({"generator": {"train": False}}).critic.train is True


@pytest.mark.parametrize("key", [1, 2.5, True])
def test_a_key_that_is_no_string_is_refused(key: Any) -> None:
    assert str(key) in message({key: 3})


def test_a_recipe_is_frozen() -> None:
    recipe = Recipe()
    with pytest.raises(ValidationError):
        recipe.steps = 3  # type: ignore[misc]
    with pytest.raises(ValidationError):
        recipe.optimizer.lr = 3.0  # type: ignore[misc]
    assert recipe.steps == 1000


# overrides


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        (".5e3", 500.0),
        ("-2e+2", -200.0),
        ("0.001", 0.001),
        ("500", 500),
        ("true", True),
        ("null", None),
        ("", None),
        ("hinge", "hinge"),
        ("[0.0, 0.99]", [0.0, 0.99]),
        ("{young: [0, 30]}", {"young": [0, 30]}),
        ("'3'", "3"),
        ("a=b", "a=b"),
        ("1e", "1e"),
        ("e5", "e5"),
    ],
)
def test_values_of_set_are_yaml(text: str, value: Any) -> None:
    found = parse_overrides(Recipe, [f"some.key={text}"])
    assert found == {"some.key": value}
    assert type(found["some.key"]) is type(value)


def test_keys_of_set_are_stripped_and_the_last_wins() -> None:
    assert parse_overrides(Recipe, [" steps =5", "batch=3", "steps=7"]) == {"steps": 7, "batch": 3}


@pytest.mark.parametrize("pair", ["steps", "", "=5", "  =5"])
def test_set_without_key_or_value_is_explained(pair: str) -> None:
    with pytest.raises(ZerosumError, match="write key=value"):
        parse_overrides(Recipe, [pair])


@pytest.mark.parametrize("pair", ["a=[1", "a={b: 1, b: 2}", "a=&x [*x]", "a=!!python/name:os.system"])
def test_set_with_wrong_yaml_names_the_key(pair: str) -> None:
    with pytest.raises(ZerosumError, match=r"^--set a"):
        parse_overrides(Recipe, [pair])


def test_overrides_leave_the_original_alone() -> None:
    recipe = Recipe.load("digits")
    steps = recipe.steps
    changed = recipe.with_overrides({"generator.lr": 1e-3, "steps": 5, "critic.norm": "batch"})
    assert (changed.generator.lr, changed.steps, changed.critic.options["norm"]) == (1e-3, 5, "batch")
    assert (recipe.generator.lr, recipe.steps, recipe.critic.options["norm"]) == (None, steps, "none")


def test_overriding_one_attribute_keeps_the_others() -> None:
    recipe = Recipe.load("faces-attributes").with_overrides({"data.attributes.age": {"any": [0, 200]}})
    assert recipe.data.attributes == {"gender": ["female", "male"], "age": {"any": (0, 200)}}
    assert Recipe().with_overrides({"data.attributes.age": None}).data.attributes == {"age": None}


#: sections of a recipe that has everything, with values for some of their keys
SECTIONS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "optimizer": {
        "lr": st.floats(0, 1),
        "betas": st.lists(st.floats(0, 0.9), min_size=2, max_size=2),
        "name": st.sampled_from(["adam", "sgd", "rmsprop"]),
    },
    "penalties": {"clip": st.floats(0, 1), "r1": st.fixed_dictionaries({}, optional={"every": st.integers(1, 9)})},
    "penalties.r1": {"weight": st.floats(0, 9), "every": st.integers(1, 9)},
    "data": {
        "mirror": st.booleans(),
        "drive": st.fixed_dictionaries({}, optional={"frames": st.integers(1, 9), "table": st.none() | st.text("ab")}),
        "attributes": st.none() | st.dictionaries(st.text("ab", min_size=1), st.none(), max_size=2),
    },
    "generator": {"lr": st.none() | st.floats(0, 1), "width": st.integers(1, 99), "train": st.just(True)},
    "scores": {"every": st.integers(0, 99), "best": st.sampled_from(["fid", "accuracy"])},
    "diagnosis": {"collapse": st.sampled_from(["off", "stop"]), "oscillation": st.sampled_from(["off", "warn"])},
}


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_overriding_a_section_changes_its_keys_and_no_other(data: st.DataObject) -> None:
    section = data.draw(st.sampled_from(list(SECTIONS)))
    changes = data.draw(st.fixed_dictionaries({}, optional=SECTIONS[section]))
    before = Recipe.load("digits").with_overrides({"optimizer.name": "sgd", "penalties.r1": {"weight": 3.0}})
    after = before.with_overrides({section: changes})
    dotted_keys = {f"{section}.{key}": value for key, value in changes.items()}
    assert after == before.with_overrides(dotted_keys)
    # of all keys that could have changed
    mine, theirs = flat(before.plain()), flat(after.plain())
    for key in mine.keys() | theirs.keys():
        if not any(f"{key}.".startswith(f"{changed}.") for changed in dotted_keys):
            assert mine.get(key, "missing") == theirs.get(key, "missing"), key


@settings(deadline=None, max_examples=100)
@given(st.permutations(["optimizer", "optimizer.lr", "optimizer.betas"]), st.floats(0, 1), st.floats(0, 1))
def test_the_later_override_wins(order: list[str], first: float, second: float) -> None:
    values = {"optimizer": {"lr": first, "momentum": [0.1, 0.2]}, "optimizer.lr": second, "optimizer.betas": [0, 0.5]}
    found = Recipe().with_overrides({key: values[key] for key in order}).optimizer
    assert found.lr == (first if order.index("optimizer") > order.index("optimizer.lr") else second)
    assert (found.betas, found.momentum) == ((0.0, 0.5), (0.1, 0.2))


def test_overrides_add_up() -> None:
    """Those of several sources, as --set given twice: the later go on top, and what they do not name stays."""
    assert dotted(Recipe, {"optimizer": {"lr": 1, "name": "sgd"}}, {"optimizer": {"lr": 2}}) == {
        "optimizer.name": "sgd",
        "optimizer.lr": 2,
    }
    attributes = dotted(Recipe, {"data.attributes.age": None}, {"data": {"attributes": {"sex": None}}})
    assert Recipe().with_overrides(attributes).data.attributes == {"sex": None}
    attributes = dotted(
        Recipe, {"data.attributes": {"sex": None}, "data.attributes.age": None}, {"data.attributes": None}
    )
    assert Recipe().with_overrides(attributes).data.attributes is None
    read = parse_overrides(Recipe, ["optimizer={lr: 0.1}", "optimizer={betas: [0, 0.9]}", "optimizer.lr=0.2"])
    found = Recipe().with_overrides(read).optimizer
    assert (found.lr, found.betas) == (0.2, (0.0, 0.9))


def test_a_mapping_that_is_no_section_is_replaced() -> None:
    recipe = Recipe.load("faces-attributes").with_overrides({"data": {"attributes": {"age": {"any": [0, 200]}}}})
    assert recipe.data.attributes == {"age": {"any": (0, 200)}}
    assert section(recipe.data).resolution == section(Recipe.load("faces-attributes").data).resolution


def test_an_optional_section_comes_and_goes() -> None:
    piles = {"condition.method": "picture", "data.input": "pile"}
    assert Recipe().with_overrides(piles | {"cycle.weight": 3}).cycle == Cycle(weight=3.0)
    recipe = Recipe().with_overrides(piles | {"cycle": {"weight": 3, "pool": 7}})
    assert recipe.cycle == Cycle(weight=3.0, pool=7)
    assert recipe.with_overrides({"cycle": {"weight": 4}}).cycle == Cycle(weight=4.0, pool=7)
    assert Recipe().with_overrides(piles | {"cycle": {}}).cycle == Cycle()
    assert recipe.with_overrides({"cycle": None, "condition.method": "none", "data.input": "none"}).cycle is None
    assert "optimizer = None: should be a dictionary" in message_of_override("optimizer", None)


def test_a_section_may_be_given_as_an_object() -> None:
    recipe = Recipe().with_overrides({"optimizer": Optimizer(lr=0.1), "optimizer.name": "sgd"})
    assert recipe.optimizer == Optimizer(lr=0.1, name="sgd")


def test_another_network_has_options_of_its_own() -> None:
    recipe = Recipe.parse({"critic": {"network": "mlp", "hidden": [5], "steps": 3}, "generator": {"width": 4}})
    changed = recipe.with_overrides({"critic": {"width": 8, "network": "dcgan"}})
    assert changed.critic.options == {"width": 8}
    assert changed.critic.steps == 3
    assert changed.generator.options == {"width": 4}
    assert recipe.with_overrides({"critic.network": "mlp"}).critic.options == {"hidden": [5]}


@pytest.mark.parametrize(
    ("section", "value", "said"),
    [
        ("optimizer", {"betta": 1}, "unknown key 'optimizer.betta': did you mean 'optimizer.betas'?"),
        ("penalties", {"r1": {"wieght": 1}}, "unknown key 'penalties.r1.wieght': did you mean 'penalties.r1.weight'?"),
        ("data", {"drive": {"frame": 1}}, "unknown key 'data.drive.frame': did you mean 'data.drive.frames'?"),
        ("optimizer", {"lr": "fast"}, "optimizer.lr = 'fast': should be a valid number"),
        ("optimizer", {1: 2}, "unknown key 'optimizer.1'"),
        ("optimizer", 3, "optimizer = 3: should be a dictionary: keys with their values"),
        (
            "generator",
            {"width": {"a": {"b": 1}}, "lr": {"a": 1}},
            "generator.lr = {'a': 1}: should be like {from: 2, to: 0.2, over: 0.5}",
        ),
    ],
)
def test_what_is_wrong_inside_a_section_is_named_with_its_whole_key(section: str, value: Any, said: str) -> None:
    assert said in message_of_override(section, value)


def test_messages_begin_in_the_words_of_the_door() -> None:
    assert message_of_override("optimizer.lr", "fast").startswith("overrides: optimizer.lr")
    assert message_of_override("optimiser.lr", 1).startswith("overrides: unknown key")
    with at_command_line():
        assert message_of_override("optimizer.lr", "fast").startswith("--set: optimizer.lr")
        assert message_of_override("optimiser.lr", 1).startswith("--set: unknown key")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("name", "my run", "name = 'my run': should be 1 to 64 letters from a to z, digits and ._-, beginning with"),
        ("name", "-rf", "beginning with a letter or a digit"),
        ("device", "gpu", "device = 'gpu': should be auto, cpu, cuda, or cuda:1 for the second GPU"),
    ],
)
def test_patterns_are_told_in_words(key: str, value: str, said: str) -> None:
    told = message_of_override(key, value)
    assert said in told
    assert not set("^$[]{}\\") & set(told)


def test_integers_may_stand_for_real_numbers() -> None:
    recipe = Recipe.parse({"optimizer": {"lr": 1, "betas": [0, 0.9]}})
    assert recipe.optimizer.lr == 1.0
    assert recipe.optimizer.betas == (0.0, 0.9)


CHANGES: dict[str, st.SearchStrategy[Any]] = {
    "steps": st.integers(1, 10**6),
    "batch": st.integers(2, 4096),
    "seed": st.integers(0, 2**31 - 1),
    "objective": st.text(max_size=20),
    "about": st.text(max_size=40),
    "data.uri": st.none() | st.text(max_size=20),
    "data.mirror": st.booleans(),
    "data.resolution": st.none() | st.integers(8, 256),
    "latent.bound": st.floats(1e-300, 1e300),
    "optimizer.lr": st.floats(0, 1e300),
    "optimizer.betas": st.lists(st.floats(0, 0.999), min_size=2, max_size=2),
    "optimizer.drops": st.lists(st.floats(0, 1e6), max_size=4),
    "penalties.r1.every": st.integers(1, 100),
    "generator.width": st.integers(1, 512),
    "critic.init": st.text(max_size=10),
    "data.attributes": st.none()
    | st.dictionaries(
        st.text("abc", min_size=1, max_size=3),
        st.none()
        | st.lists(st.text(max_size=5), min_size=1, max_size=3)
        | st.fixed_dictionaries({"low": st.tuples(st.floats(-9, 0), st.floats(1, 9)).map(list)}),
        min_size=1,
        max_size=2,
    ),
}


@settings(deadline=None, max_examples=150)
@given(st.fixed_dictionaries({}, optional=CHANGES))
def test_differences_name_exactly_what_was_overridden(changes: dict[str, Any]) -> None:
    recipe = Recipe.load("digits")
    changed = recipe.with_overrides(changes)
    before, after = recipe.plain(), changed.plain()

    def at(values: Any, key: str) -> Any:
        for part in key.split("."):
            values = values.get(part)
        return values

    expected = {key for key in changes if at(before, key) != at(after, key)}
    found = recipe.differences(changed)
    assert {next((key for key in CHANGES if f"{name}.".startswith(f"{key}.")), name) for name in found} == expected
    assert set(changed.differences(recipe)) == set(found)
    assert {key: pair[::-1] for key, pair in changed.differences(recipe).items()} == found


def test_differences_hold_both_values() -> None:
    recipe = Recipe()
    assert recipe.differences(recipe.with_overrides({"steps": 5})) == {"steps": (1000, 5)}
    assert recipe.differences(recipe.with_overrides({"critic.width": 5})) == {"critic.width": (None, 5)}


def test_all_attributes_differ_from_one_of_them() -> None:
    every, one = Recipe(), Recipe().with_overrides({"data.attributes": {"gender": None}})
    assert every != one
    assert list(every.differences(one)) == ["data.attributes.gender"]


@settings(deadline=None, max_examples=150)
@given(st.fixed_dictionaries({}, optional=CHANGES))
@example({"about": "1e-3"})
@example({"about": "null"})
@example({"about": "2001-01-01"})
@example({"about": "line\nline"})
@example({"data.attributes": {"a": ["1e3", "yes"]}})
def test_every_recipe_round_trips_through_yaml(changes: dict[str, Any]) -> None:
    recipe = Recipe().with_overrides(changes)
    assert Recipe.parse(read_yaml(recipe.to_yaml(), "copy")) == recipe


@pytest.mark.parametrize("name", ["1e5", "12e4", "3", "null", "yes", "2001-01-01", "0x10", "1_000"])
def test_a_run_may_have_a_name_like_a_number(name: str) -> None:
    recipe = Recipe().with_overrides({"name": name})
    assert Recipe.parse(read_yaml(recipe.to_yaml(), "recipe.yaml")).name == name


@pytest.mark.parametrize("value", ["auto", 1, 64])
def test_threads(value: Any) -> None:
    recipe = Recipe.parse({"threads": value})
    assert recipe.threads == value
    assert Recipe.parse(read_yaml(recipe.to_yaml(), "")) == recipe


@pytest.mark.parametrize("value", [0, -1, 1025, 1.0, True, None, "2", "all", [1]])
def test_no_number_of_threads(value: Any) -> None:
    with pytest.raises(ZerosumError, match=r"^recipe: threads = .*: should be auto, or a whole number from 1 to 1024$"):
        Recipe.parse({"threads": value})


def test_flat() -> None:
    assert flat({"a": {"b": 1, "c": {"d": 2}}, "e": {}, "f": [1]}) == {"a.b": 1, "a.c.d": 2, "e": {}, "f": [1]}


# YAML


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a: 1\na: 2\n", "'a' stands twice"),
        ("x: {a: 1, a: 1}\n", "'a' stands twice"),
        ("a: &one [1]\nb: *one\n", "aliases"),
        ("a: &a [*a]\n", "aliases"),
        ("<<: {a: 1}\n", ""),
        ("a: !!python/object/apply:os.system [ls]\n", ""),
        ("a: !own 3\n", ""),
        ("? [1, 2]\n: 3\n", "cannot be a key"),
        ("a: [1\n", ""),
        ("a: b: c\n", ""),
        ("\ta: 1\n", ""),
        ("--- 1\n--- 2\n", ""),
        ("a: 2001-13-45\n", ""),
    ],
)
def test_yaml_that_is_more_or_less_than_plain_values_is_refused(text: str, part: str) -> None:
    with pytest.raises(ZerosumError) as caught:
        read_yaml(text, "file")
    said = str(caught.value)
    assert said.startswith("file")
    assert part in said
    assert "\n" not in said


@pytest.mark.parametrize("text", ["!!set {a, b}", "!!binary aGk=", "!!omap [a: 1]", "!!str 3"])
def test_tags_are_refused(text: str) -> None:
    with pytest.raises(ZerosumError):
        read_yaml(text, "file")


def test_an_error_names_its_line() -> None:
    with pytest.raises(ZerosumError, match=r"^file, line 3: "):
        read_yaml("a: 1\nb: 2\nc: d: e\n", "file")


def test_deep_nesting_is_an_error_like_others() -> None:
    with pytest.raises(ZerosumError):
        read_yaml("[" * 5000, "file")


PIECES = st.lists(
    st.sampled_from(
        [
            "a",
            ":",
            ": ",
            "\n",
            " ",
            "-",
            "- ",
            "[",
            "]",
            "{",
            "}",
            ",",
            "'",
            '"',
            "&x ",
            "*x",
            "!",
            "!!",
            "!!bool ",
            "!!int ",
            "!!float ",
            "!!timestamp ",
            "!!null ",
            "<<",
            "=",
            "?",
            "? ",
            "|",
            ">",
            "%",
            "#",
            "@",
            "`",
            "1",
            "0x",
            "0b",
            "1e3",
            ".inf",
            ".nan",
            "2001-01-01",
            "1:30",
            "~",
            "\t",
            "...",
            "---",
            "\\",
            "_",
            ".",
        ]
    ),
    max_size=12,
).map("".join)


@settings(deadline=None, max_examples=400)
@given(st.text(max_size=60) | PIECES)
@example("!!bool a")
@example("!!int ''")
@example("!!float ''")
@example("!!timestamp a")
@example("1" + ":10" * 400 + ".0")
@example("1" * 5000)
@example("\ud800")
def test_reading_any_text_raises_one_kind_of_error_only(text: str) -> None:
    try:
        read_yaml(text, "file")
    except ZerosumError as error:
        assert str(error).startswith("file")


@settings(deadline=None, max_examples=300)
@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9), st.lists, max_leaves=5)
)
def test_parsing_any_values_raises_one_kind_of_error_only(value: Any) -> None:
    for key in ("steps", "name", "data", "optimizer.betas", "data.attributes", "generator", "critic.width"):
        try:
            Recipe().with_overrides({key: value})
        except ZerosumError as error:
            assert "\n" not in str(error)


def test_overrides_stay_as_they_were() -> None:
    overrides: dict[str, Any] = {"optimizer": {"name": "sgd", "lr": 0.05}, "optimizer.lr": 0.01}
    assert Recipe().with_overrides(overrides).optimizer.lr == 0.01
    assert overrides == {"optimizer": {"name": "sgd", "lr": 0.05}, "optimizer.lr": 0.01}


PICTURED: dict[str, Any] = {"condition.method": "picture", "data.input": "shrunk"}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"condition.method": "picture"}, "condition.method = given with data.input = none"),
        ({"data.input": "edges"}, "condition.method = none with data.input = edges"),
        ({"content.weight": 1.0}, "content.weight = 1: in this data no generated sample has a true one"),
        (PICTURED | {"adversarial": 0.0}, "adversarial = 0 without content.weight: the generator would learn nothing"),
        (PICTURED | {"data.factor": 3}, "data.factor = 3: should be 2, 4 or 8"),
        ({"data.hold_out": 1.0}, "data.hold_out = 1.0: should be less than 1"),
        ({"optimizer.fade": 1.5}, "optimizer.fade = 1.5: should be less than or equal to 1"),
    ],
)
def test_pictures_as_conditions(overrides: dict[str, Any], said: str) -> None:
    with pytest.raises(ZerosumError) as caught:
        Recipe().with_overrides(overrides)
    assert said in str(caught.value)
    assert Recipe().with_overrides(PICTURED | {"content.weight": 2.0, "adversarial": 0.0}).content.measure == "l1"
