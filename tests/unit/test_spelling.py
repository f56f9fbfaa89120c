import pytest

from cytolapse.spelling import POSITION_BEGINS, POSITION_ENDS, clock_words, is_thumbnail, spell_out


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("r02c03f04p05-ch1sk12fk1fl1.tiff", "<r02c03f04>_z05_ch1_t12_fk1_fl1"),
        ("AssayPlate_#655090_D02_T0003F004L01A02Z05C06.tif", "AssayPlate_#655090_<D02_F004>_t0003_L01A02_z05_C06"),
        ("W1_F002T0003Z04C5.tif", "<W1_F002>_t0003_z04_C5"),
        ("W12F002T0003Z04C5.tif", "<W12_F002>_t0003_z04_C5"),
        ("Phase_exp7_B3_2_01d02h03m.tif", "Phase_exp7_<B3_2>_clock93780"),
        ("exp7_2024y02m29d_10h20m.tif", "exp7_clock1709202000"),
        ("exp7_2024y02m30d_10h20m.tif", "exp7_2024y02m30d_10h20m"),
        ("a_10h20m05s.tif", "a_clock37205"),
        ("run_WellB02_PointB02_0003_ChannelGFP_Seq0007.tif", "run_<B02_0003>_Channel_GFP_Seq0007"),
        ("WellP24_ChannelMITO,DNA_Seq0360xy9c5.tif", "<P24>_Channel_MITO,DNA_Seq0360xy9c5"),
        ("p_B03_s1_w1E6F03D5B-5C60-45F2-B3B8-A2D2E9E79E1D.tif", "p_B03_s1_w1"),
        (
            "image--L0000--S00--U01--V02--J20--E00--O00--X03--Y04--T0005--Z06--C01.ome.tif",
            "image--L0000--<S00_U01_V02_X03_Y04>--job20--e00--o00--t0005--z06--C01.ome",
        ),
        ("t01xy02c1.tif", "t01xy02c1"),
        ("washed3h20min_t1.tif", "washed3h20min_t1"),
    ],
)
def test_names_of_instruments_are_spelled_in_general_words(name, spelled):
    assert spell_out(name) == spelled.replace("<", POSITION_BEGINS).replace(">", POSITION_ENDS)


@pytest.mark.parametrize(
    ("name", "thumbnail"),
    [
        ("p_B03_s1_w1_thumbE6F03D5B-5C60-45F2-B3B8-A2D2E9E79E1D.tif", True),
        ("p_B03_s1_thumb.tif", True),
        ("p_B03_s1_w1E6F03D5B-5C60-45F2-B3B8-A2D2E9E79E1D.tif", False),
        ("under_thumbs_t1.tif", False),
    ],
)
def test_thumbnails_are_known_by_their_names(name, thumbnail):
    assert is_thumbnail(name) is thumbnail


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(93780, "1 d 2 h 3 min"), (65, "0 d 0 h 1 min 5 s"), (1709202000, "2024-02-29 10:20")],
)
def test_times_of_names_are_said_as_people_read_them(seconds, words):
    assert clock_words(seconds) == words
