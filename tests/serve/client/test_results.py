from pathlib import Path

from lvseg_serve.client.results import Row, write_table


def test_the_table_has_a_header_and_empty_cells_where_nothing_applies(tmp_path: Path) -> None:
    rows = [
        Row(
            file="a.dcm",
            frame=1,
            rows=64,
            columns=72,
            area_mm2=900.0,
            dice=0.98765,
            good=True,
            flags="other-place",
            ms=12.34567,
        ),
        Row(file="b, c.dcm", status="failed", error='it is "text"'),
    ]
    write_table(tmp_path, rows)
    assert (tmp_path / "segmentation.csv").read_text().splitlines() == [
        "file,frame,rows,columns,area_mm2,dice,apd_mm,hausdorff_mm,good,flags,model,engine,ms,status,error",
        "a.dcm,1,64,72,900.0000,0.9877,,,true,other-place,,,12.3457,ok,",
        '"b, c.dcm",,,,,,,,,,,,,failed,"it is ""text"""',
    ]
