"""Attributes of hand-made keypoints, masks and fields, and of their mirror images."""

import math

import numpy as np
import pytest

from fos_jax.errors import InputError
from fos_jax.patterns.annotations.keypoints import ANIMAL, AP_10K, PERSON
from fos_jax.patterns.annotations.reading import ATTRIBUTES, annotation_attributes, check_names
from fos_jax.scenes.attributes import YAW_8, YAW_RAD

WIDTH, HEIGHT = 400, 300


def animal(yaw_deg, *, withers=100, front_legs=60, hind_legs=60, tail=100, drop=()):
    """A dog of sticks, 100 px long and 40 wide, heights above its paws as given, as keypoints by name."""
    yaw = math.radians(yaw_deg)

    def place(along, left, up):
        return (200 + along * math.sin(yaw) + left * math.cos(yaw), 250 - up)

    points = {"withers": place(50, 0, withers), "throat": place(60, 0, withers - 10), "tailbase": place(-50, 0, tail)}
    points["nose"] = place(85, 0, withers + 10)
    for side, left in (("left", 20), ("right", -20)):
        points[f"{side}_eye"], points[f"{side}_ear"] = (
            place(75, left / 3, withers + 20),
            place(65, left / 2, withers + 30),
        )
        points[f"{side}_front_elbow"] = place(50, left, front_legs)
        points[f"{side}_front_knee"] = place(50, left, front_legs / 2)
        points[f"{side}_front_paw"] = place(50, left, 0)
        points[f"{side}_back_elbow"] = place(-50, left, hind_legs)
        points[f"{side}_back_knee"] = place(-50, left, hind_legs / 2)
        points[f"{side}_back_paw"] = place(-50, left, 0)
    return {name: point for name, point in points.items() if name not in drop}


def person(*, yaw="front", sitting=False, down_to="ankle", drop=()):
    """A person of sticks, shoulders 60 px apart and trunk 100 px long when seen from the front."""
    across = {"front": 1, "back": -1, "left": 0, "right": 0}[yaw]
    ahead = {"front": 0, "back": 0, "left": -1, "right": 1}[yaw]
    heights = {"eye": 30, "ear": 32, "shoulder": 60, "elbow": 100, "wrist": 140, "hip": 160}
    heights |= {"knee": 170 if sitting else 220, "ankle": 230 if sitting else 280}
    points = {} if yaw == "back" else {"nose": (200 + 12 * ahead, 36)}
    for part, y in heights.items():
        half = {"eye": 6, "ear": 12}.get(part, 30)
        for side, sign in (("left", 1), ("right", -1)):
            x = 200 + sign * across * half + (ahead * 8 if part == "eye" else 0)
            points[f"{side}_{part}"] = (x + (ahead * 50 if sitting and part in ("knee", "ankle") else 0), y)
    if yaw == "back":
        points = {name: p for name, p in points.items() if not name.endswith("eye")}
    parts = list(heights)
    hidden = parts[parts.index(down_to) + 1 :]
    return {n: p for n, p in points.items() if n not in drop and n.split("_")[-1] not in hidden}


def flat(points, names, *, visible=2):
    return [v for name in names for v in ((*points[name], visible) if name in points else (0, 0, 0))]


def mirrored(points):
    swap = {"left": "right", "right": "left"}
    return {"_".join(swap.get(w, w) for w in n.split("_")): (WIDTH - x, y) for n, (x, y) in points.items()}


def read(points, names, category, box=None, mask=None):
    xs, ys = zip(*points.values(), strict=True)
    box = box or (int(min(xs)) - 5, int(min(ys)) - 5, int(max(xs)) + 5, int(max(ys)) + 5)
    return annotation_attributes(
        {"keypoints": flat(points, names), "keypoint_names": list(names)}, box, mask, WIDTH, HEIGHT, category
    )


@pytest.mark.parametrize("yaw", YAW_8)
def test_views_of_an_animal_and_of_its_mirror_image(yaw):
    drop = ("left_eye", "right_eye") if "back" in yaw else ()
    points = animal(math.degrees(YAW_RAD[yaw]), drop=drop)
    found = read(points, ANIMAL, "dog")
    assert found["animal_view"] == yaw
    assert read(mirrored(points), ANIMAL, "dog")["animal_view"] == ATTRIBUTES["animal_view"].mirrored(yaw)
    assert not {"person_facing", "person_posture", "person_extent"} & set(found)


@pytest.mark.parametrize("yaw_deg", [-90, -45, 0, 90])
@pytest.mark.parametrize(
    ("shape", "posture"),
    [
        ({}, "standing"),
        ({"hind_legs": 20, "tail": 20}, "sitting"),
        ({"withers": 45, "front_legs": 5, "hind_legs": 8, "tail": 28}, "lying"),
    ],
)
def test_postures_of_an_animal(yaw_deg, shape, posture):
    points = animal(yaw_deg, **shape)
    assert read(points, ANIMAL, "dog")["animal_posture"] == posture
    assert read(mirrored(points), ANIMAL, "dog")["animal_posture"] == posture


def test_legs_alone_tell_a_standing_animal():
    points = animal(90, drop=("withers", "throat", "tailbase"))
    assert read(points, ANIMAL, "dog")["animal_posture"] == "standing"


def test_a_rearing_animal_has_no_posture():
    points = animal(90, hind_legs=20, tail=20)
    for side in ("left", "right"):
        points[f"{side}_front_paw"] = (points[f"{side}_front_elbow"][0] + 40, points[f"{side}_front_elbow"][1] - 10)
    points["withers"] = (points["tailbase"][0] + 10, 100)
    assert "animal_posture" not in read(points, ANIMAL, "dog")


@pytest.mark.parametrize(
    ("keep", "view"),
    [
        (("left_eye", "nose", "left_ear"), "left"),
        (("right_eye", "nose"), "right"),
        (("left_eye", "right_eye"), None),  # no nose
        (("withers",), None),
        (("tailbase", "left_back_paw"), None),
    ],
)
def test_parts_of_an_animal(keep, view):
    yaw = -90 if view == "left" else 90
    points = {name: p for name, p in animal(yaw).items() if name in keep}
    assert read(points, ANIMAL, "dog").get("animal_view") == view


def test_a_head_on_a_long_body_tells_no_view():
    points = {name: p for name, p in animal(0).items() if name in ("left_eye", "right_eye", "nose")}
    assert read(points, ANIMAL, "dog")["animal_view"] == "front"
    assert "animal_view" not in read(points, ANIMAL, "dog", box=(50, 100, 350, 250))


def test_one_sided_joints_of_a_long_body_are_a_side():
    points = {name: p for name, p in animal(-90).items() if not name.startswith("right")}
    assert read(points, ANIMAL, "dog")["animal_view"] == "left"


def test_a_back_with_a_face_is_unknown():
    """It rolls over, looks back, or its annotator mixed up left and right."""
    assert "animal_view" not in read(animal(180), ANIMAL, "dog")


@pytest.mark.parametrize("yaw", ["left", "front", "right"])
def test_ap_10k_names_mean_the_same(yaw):
    theirs = {"withers": "neck", "tailbase": "root_of_tail"}
    for side in ("left", "right"):
        theirs |= {f"{side}_front_elbow": f"{side}_elbow", f"{side}_back_elbow": f"{side}_knee"}
    points = {theirs.get(name, name): p for name, p in animal(math.degrees(YAW_RAD[yaw])).items()}
    named = read(points, AP_10K, "antelope")
    assert named["animal_view"] == yaw
    assert named["animal_posture"] == "standing"
    unnamed = annotation_attributes(
        {"keypoints": flat(points, AP_10K)}, (0, 0, 400, 300), None, WIDTH, HEIGHT, "antelope", names=["animal_view"]
    )
    assert unnamed == {"animal_view": yaw}
    shouted = [name.replace("left", "L").replace("right", "R").title() for name in AP_10K]
    spelt = {"keypoints": flat(points, AP_10K), "keypoint_names": shouted}
    found = annotation_attributes(spelt, (0, 0, 400, 300), None, WIDTH, HEIGHT, "x", names=["animal_view"])
    assert found == unnamed


@pytest.mark.parametrize("yaw", ["front", "back", "left", "right"])
@pytest.mark.parametrize("sitting", [False, True])
def test_persons(yaw, sitting):
    points = person(yaw=yaw, sitting=sitting)
    found = read(points, PERSON, "person")
    assert found["person_facing"] == yaw
    assert found["person_posture"] == ("sitting" if sitting else "standing")
    assert found["person_extent"] == "ankles"
    assert not {"animal_view", "animal_posture"} & set(found)
    other = read(mirrored(points), PERSON, "person")
    names = ("person_facing", "person_posture", "person_extent")
    assert {n: other[n] for n in names} == {n: ATTRIBUTES[n].mirrored(found[n]) for n in names}


@pytest.mark.parametrize(
    ("down_to", "extent", "posture"),
    [("ankle", "ankles", "standing"), ("knee", "knees", "standing"), ("hip", "hips", None), ("wrist", "bust", None)],
)
def test_extent_of_persons(down_to, extent, posture):
    found = read(person(down_to=down_to), PERSON, "person")
    assert (found["person_extent"], found.get("person_posture")) == (extent, posture)
    assert found["person_facing"] == "front"


def test_covered_joints_extend_no_person():
    points = person()
    keypoints = np.array(flat(points, PERSON)).reshape(-1, 3)
    keypoints[[PERSON.index(f"{s}_{p}") for s in ("left", "right") for p in ("ankle", "knee")], 2] = 1
    found = annotation_attributes(
        {"keypoints": keypoints.ravel().tolist()}, (150, 20, 250, 290), None, 400, 300, "person"
    )
    assert found["person_extent"] == "hips"
    assert found["person_posture"] == "standing"  # where a covered joint lies is known all the same


@pytest.mark.parametrize(
    "points",
    [
        {"left_wrist": (5, 5)},
        person(yaw="front", drop=("nose", "left_eye", "right_eye")),  # the sides say front, and there is no face
        person(yaw="left", drop=("nose", "left_eye", "right_eye")),
    ],
)
def test_persons_who_do_not_tell_their_facing(points):
    assert "person_facing" not in read(points, PERSON, "person")


def test_persons_whose_sides_were_mixed_up():
    points = person(yaw="front")
    swapped = mirrored({n: (WIDTH - x, y) for n, (x, y) in points.items()})
    assert "person_facing" not in read(swapped, PERSON, "person")


@pytest.mark.parametrize(
    ("box", "side"),
    [
        ((100, 100, 200, 200), "none"),
        ((100, 200, 200, 300), "below"),
        ((0, 100, 100, 200), "left"),
        ((300, 100, 400, 200), "right"),
        ((100, 0, 200, 100), "above"),
        ((0, 200, 100, 300), "several"),
    ],
)
@pytest.mark.parametrize("has_mask", [False, True])
def test_truncation(box, side, has_mask):
    mask = np.ones((100, 100), bool) if has_mask else None
    found = annotation_attributes({}, box, mask, WIDTH, HEIGHT, "car")
    assert found["truncation"] == side
    expected = "none" if side == "none" else "full"
    assert found.get("truncation_extent") == (expected if has_mask or side == "none" else None)
    other = (WIDTH - box[2], box[1], WIDTH - box[0], box[3])
    assert annotation_attributes({}, other, mask, WIDTH, HEIGHT, "car")["truncation"] == ATTRIBUTES[
        "truncation"
    ].mirrored(side)


def test_a_mask_says_how_much_is_cut_off():
    mask = np.zeros((100, 100), bool)
    mask[:60] = True
    mask[60:, :30] = True  # a leg reaches the border
    found = annotation_attributes({}, (100, 200, 200, 300), mask, WIDTH, HEIGHT, "car")
    assert (found["truncation"], found["truncation_extent"]) == ("below", "partial")
    mask[60:, 5:] = False  # now a toe does: the rectangle touches the border, the object does not
    found = annotation_attributes({}, (100, 200, 200, 300), mask, WIDTH, HEIGHT, "car")
    assert (found["truncation"], found["truncation_extent"]) == ("none", "none")
    whole = np.zeros((HEIGHT, WIDTH), bool)
    whole[200:300, 100:200] = mask
    assert annotation_attributes({}, (100, 200, 200, 300), whole, WIDTH, HEIGHT, "car") == found


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"pose": "Left", "truncated": "1"}, {"voc_pose": "left", "voc_truncated": "truncated"}),
        ({"pose": "Frontal", "truncated": "0"}, {"voc_pose": "front", "voc_truncated": "whole"}),
        ({"pose": "Rear", "truncated": 1}, {"voc_pose": "back", "voc_truncated": "truncated"}),
        ({"pose": "Unspecified"}, {}),
        ({"azimuth_deg": 0.0, "elevation_deg": 10.0}, {"azimuth": "front", "elevation": "low"}),
        ({"azimuth_deg": 90.0, "elevation_deg": 30.0}, {"azimuth": "left", "elevation": "high"}),
        ({"azimuth_deg": 315, "elevation_deg": 0}, {"azimuth": "front_right", "elevation": "low"}),
        ({"azimuth_deg": 180.0, "elevation_deg": 85.0}, {}),  # from above
        ({"azimuth_deg": 45.0, "polar_deg": 90.0}, {}),  # another data set's azimuth
    ],
)
def test_fields_of_pascal(fields, expected):
    found = annotation_attributes(fields, (100, 100, 200, 200), None, WIDTH, HEIGHT, "car")
    assert {k: v for k, v in found.items() if not k.startswith("truncation")} == expected


@pytest.mark.parametrize("degrees", range(0, 360, 15))
def test_a_mirrored_azimuth_is_the_mirrored_value(degrees):
    def value(azimuth):
        fields = {"azimuth_deg": azimuth, "elevation_deg": 0}
        return annotation_attributes(fields, (0, 0, 9, 9), None, 50, 50, "car")["azimuth"]

    assert value(-degrees) == ATTRIBUTES["azimuth"].mirrored(value(degrees))


def test_values_are_declared_and_mirrors_stay_inside():
    for attribute in ATTRIBUTES.values():
        assert {attribute.mirrored(attribute.mirrored(value)) for value in attribute.values} == set(attribute.values)


def test_without_keypoints_everything_stays_unknown():
    for annotation in ({}, {"keypoints": [0] * 51}, {"keypoints": [1, 2, 2] * 5}):
        found = annotation_attributes(annotation, (10, 10, 20, 20), None, WIDTH, HEIGHT, "person")
        assert found == {"truncation": "none", "truncation_extent": "none"}
    assert annotation_attributes({}, (10, 10, 20, 20), None, 0, 0, "cup") == {}  # a cut-out without its photograph


@pytest.mark.parametrize(
    ("annotation", "mask", "message"),
    [
        ({"keypoints": flat({"nose": (401, 5)}, PERSON)}, None, "nose lies at \\(401, 5\\), expected it inside"),
        ({"keypoints": flat({"nose": (5, -3)}, PERSON)}, None, "nose lies at"),
        ({"keypoints": ["a"] * 51}, None, "expected a list of numbers"),
        ({"keypoints": "left"}, None, "expected a list of numbers"),
        ({"keypoints": [1, 2]}, None, "2 numbers, expected x, y, visibility of 0 points"),
        ({"keypoints": [1, 2, 2], "keypoint_names": list(PERSON)}, None, "3 numbers, expected .* 17 points"),
        ({"keypoints": [float("nan")] * 51}, None, "expected a list of numbers"),
        ({"azimuth_deg": "left", "elevation_deg": 3}, None, "expected a number of degrees"),
        ({}, np.ones((5, 5), bool), "mask of 5 x 5 px, expected 10 x 20 px .* or 400 x 300 px"),
    ],
)
def test_bad_annotations_are_one_line(annotation, mask, message):
    with pytest.raises(InputError, match=message) as caught:
        annotation_attributes(
            annotation, (10, 10, 20, 30), mask, WIDTH, HEIGHT, "person", where="a.json: annotations[3]"
        )
    assert "\n" not in str(caught.value)


def test_unknown_names_are_refused():
    assert check_names(["azimuth", "truncation", "azimuth"]) == ("azimuth", "truncation")
    for names in ([], ["colour"]):
        with pytest.raises(InputError, match=r"attributes: got .*, expected some of truncation"):
            check_names(names)
