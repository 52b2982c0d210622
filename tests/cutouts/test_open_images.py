import numpy as np
import pytest
from PIL import Image

from fos_jax.cutouts.cutting import cut_objects
from fos_jax.cutouts.sources.open_images import OpenImagesSource
from fos_jax.errors import InputError

_HEADER = "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks"
_ROWS = [
    "aa11_m01_b1.png,aa11,/m/01,b1,0.25,0.75,0.25,0.75,0.91,0.1 0.2 1",
    "bb22_m02_b2.png,bb22,/m/02,b2,0.25,0.75,0.25,0.75,,",
    "aa11_m02_b3.png,aa11,/m/02,b3,0.25,0.75,0.25,0.75,0.80,",
]


@pytest.fixture
def layout(tmp_path):
    """Returns a function that writes two photographs with three masks and gives the reader's arguments."""

    def write(
        *, rows=_ROWS, header=_HEADER, classes="/m/01,Car\n/m/02,Potted plant\n", mask_size=(20, 16), spread=True
    ):
        images, masks = tmp_path / "images", tmp_path / "masks"
        images.mkdir()
        masks.mkdir()
        for name in ("aa11", "bb22"):
            Image.fromarray(np.full((32, 40, 3), 90, np.uint8)).save(images / f"{name}.jpg")
        for row in _ROWS:
            name = row.split(",")[0]
            mask = np.zeros(mask_size[::-1], bool)
            mask[mask_size[1] // 4 : mask_size[1] * 3 // 4, mask_size[0] // 4 : mask_size[0] * 3 // 4] = True
            folder = masks / name[0].upper() if spread else masks
            folder.mkdir(exist_ok=True)
            Image.fromarray(mask).save(folder / name)
        (tmp_path / "segmentation.csv").write_text("\n".join([header, *rows]) + "\n")
        (tmp_path / "classes.csv").write_text(classes)
        return (tmp_path / "segmentation.csv", masks, images, tmp_path / "classes.csv")

    return write


def _cut(source):
    return [
        cutout
        for photograph in source
        for cutout in cut_objects(photograph, source.root, source.mask_root, defects=source.defects)
    ]


@pytest.mark.parametrize("spread", [True, False])
@pytest.mark.parametrize(
    "classes", ["/m/01,Car\n/m/02,Potted plant\n", "LabelName,DisplayName\n/m/01,Car\n/m/02,Potted plant\n"]
)
def test_masks_are_brought_together_by_photograph(layout, spread, classes):
    source = OpenImagesSource(*layout(spread=spread, classes=classes), category_names={"Potted plant": "plant"})
    photographs = list(source)
    assert len(source) == 2
    assert [(p.id, p.path, len(p.objects)) for p in photographs] == [("aa11", "aa11.jpg", 2), ("bb22", "bb22.jpg", 1)]
    assert [o.category for p in photographs for o in p.objects] == ["Car", "plant", "plant"]
    assert photographs[0].objects[0].attributes == {"box_xyxy_norm": [0.25, 0.25, 0.75, 0.75], "predicted_iou": 0.91}
    cutouts = _cut(source)
    assert [c.box_xyxy_px for c in cutouts] == [(10, 8, 30, 24)] * 3  # half of 40 x 32, from masks of 20 x 16
    assert [c.annotated_box_xyxy_px for c in cutouts] == [(10, 8, 30, 24)] * 3


def test_licences_from_the_list_of_images(layout, tmp_path):
    listed = tmp_path / "images.csv"
    listed.write_text('ImageID,Subset,License,Title\nbb22,train,CC BY 2.0,"a, b"\nzz,train,other,\n')
    source = OpenImagesSource(*layout(), image_list=listed, licence="unknown")
    assert [p.licence for p in source] == ["unknown", "CC BY 2.0"]


def test_wanted_categories(layout):
    arguments = layout()
    source = OpenImagesSource(*arguments, categories=["Car"])
    assert [o.category for p in source for o in p.objects] == ["Car"]
    with pytest.raises(InputError, match="no class is named Dragon"):
        OpenImagesSource(*arguments, categories=["Dragon"])


def test_extra_and_reordered_columns(layout):
    source = OpenImagesSource(*layout(header="," + _HEADER, rows=[f"{i},{row}" for i, row in enumerate(_ROWS)]))
    assert sum(len(p.objects) for p in source) == 3


def test_a_mask_of_another_shape_is_refused(layout):
    source = OpenImagesSource(*layout(mask_size=(20, 20)))
    with pytest.raises(InputError, match=r"segmentation.csv: line 2: .*20 x 20 px.*40 x 32 px"):
        _cut(source)


def _row(**changes):
    names = _HEADER.split(",")
    values = dict(zip(names, _ROWS[0].split(","), strict=True)) | changes
    return ",".join(values[name] for name in names)


@pytest.mark.parametrize(
    ("row", "named"),
    [
        (_row(MaskPath="../secret.png"), "line 2: MaskPath"),
        (_row(MaskPath="/etc/passwd"), "line 2: MaskPath"),
        (_row(MaskPath=""), "line 2: MaskPath"),
        (_row(ImageID="../../etc"), "line 2: ImageID"),
        (_row(BoxID=""), "line 2: BoxID"),
        (_row(LabelName="/m/99"), "line 2: LabelName"),
        (_row(BoxXMin="nan"), "line 2: BoxXMin"),
        (_row(BoxXMax="inf"), "line 2: BoxXMax"),
        (_row(BoxXMax="0.1"), "line 2: box is"),
        (_row(BoxYMax="1.5"), "line 2: box is"),
        (_row(PredictedIoU="high"), "line 2: PredictedIoU"),
        (_row(ImageID="cc33"), "cc33.jpg"),
        (_row(MaskPath="none.png"), "none.png"),
    ],
)
def test_defective_rows_are_named_or_counted(layout, row, named):
    arguments = layout(rows=[row, *_ROWS[1:]])
    with pytest.raises(InputError) as caught:
        _cut(OpenImagesSource(*arguments))
    assert named in str(caught.value)
    source = OpenImagesSource(*arguments, skip_defects=True)
    assert len(_cut(source)) == 2
    assert sum(source.defects.counts.values()) == 1


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"header": "ImageID,LabelName"}, "columns MaskPath, BoxID"),
        ({"rows": ["a,b"]}, "line 2: 2 fields, expected 10"),
        ({"rows": [_ROWS[0], _ROWS[0]]}, r"mask\[3\]: id 'aa11/aa11_m01_b1' is there twice"),
        ({"rows": ["x" * 200_000]}, "line 2: longer than"),
        ({"rows": ['"' + "x\n" * 80_000]}, "not CSV"),
        ({"classes": "/m/01\n"}, "line 1"),
        ({"classes": ""}, "no class"),
        ({"classes": "/m/01,Car\n/m/01,Cat\n"}, "line 2: '/m/01' is there twice"),
    ],
)
def test_doubtful_tables_are_refused_in_any_case(layout, options, named):
    with pytest.raises(InputError, match=named):
        OpenImagesSource(*layout(**options), skip_defects=True)


def test_not_utf8(layout):
    arguments = layout()
    arguments[0].write_bytes(arguments[0].read_bytes() + b"\xff\xfe,,,\n")
    with pytest.raises(InputError, match=r"segmentation\.csv.*not UTF-8"):
        OpenImagesSource(*arguments)
