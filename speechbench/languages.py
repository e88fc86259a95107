"""Language codes in one spelling, and which languages are written without spaces between words."""

from __future__ import annotations

# ISO 639-1's codes, each with its code in ISO 639-3: https://iso639-3.sil.org/code_tables/download_tables
_CODES = """
aa/aar ab/abk ae/ave af/afr ak/aka am/amh an/arg ar/ara as/asm av/ava ay/aym az/aze ba/bak be/bel bg/bul bi/bis
bm/bam bn/ben bo/bod br/bre bs/bos ca/cat ce/che ch/cha co/cos cr/cre cs/ces cu/chu cv/chv cy/cym da/dan de/deu
dv/div dz/dzo ee/ewe el/ell en/eng eo/epo es/spa et/est eu/eus fa/fas ff/ful fi/fin fj/fij fo/fao fr/fra fy/fry
ga/gle gd/gla gl/glg gn/grn gu/guj gv/glv ha/hau he/heb hi/hin ho/hmo hr/hrv ht/hat hu/hun hy/hye hz/her ia/ina
id/ind ie/ile ig/ibo ii/iii ik/ipk io/ido is/isl it/ita iu/iku ja/jpn jv/jav ka/kat kg/kon ki/kik kj/kua kk/kaz
kl/kal km/khm kn/kan ko/kor kr/kau ks/kas ku/kur kv/kom kw/cor ky/kir la/lat lb/ltz lg/lug li/lim ln/lin lo/lao
lt/lit lu/lub lv/lav mg/mlg mh/mah mi/mri mk/mkd ml/mal mn/mon mr/mar ms/msa mt/mlt my/mya na/nau nb/nob nd/nde
ne/nep ng/ndo nl/nld nn/nno no/nor nr/nbl nv/nav ny/nya oc/oci oj/oji om/orm or/ori os/oss pa/pan pi/pli pl/pol
ps/pus pt/por qu/que rm/roh rn/run ro/ron ru/rus rw/kin sa/san sc/srd sd/snd se/sme sg/sag sh/hbs si/sin sk/slk
sl/slv sm/smo sn/sna so/som sq/sqi sr/srp ss/ssw st/sot su/sun sv/swe sw/swa ta/tam te/tel tg/tgk th/tha ti/tir
tk/tuk tl/tgl tn/tsn to/ton tr/tur ts/tso tt/tat tw/twi ty/tah ug/uig uk/ukr ur/urd uz/uzb ve/ven vi/vie vo/vol
wa/wln wo/wol xh/xho yi/yid yo/yor za/zha zh/zho zu/zul
"""
# Second codes of the same: ISO 639-2's bibliographic ones (https://www.loc.gov/standards/iso639-2/), and those of the
# language that is meant by a group's code where no other is named, as Mandarin by that of Chinese (Unicode's CLDR,
# aliases of languages with the reason "macrolanguage").
_SECOND_CODES = """
sq/alb hy/arm eu/baq my/bur zh/chi cs/cze nl/dut fr/fre ka/geo de/ger el/gre is/ice mk/mac mi/mao ms/may fa/per ro/rum
sk/slo bo/tib cy/wel
sq/als ar/arb az/azj zh/cmn et/ekk mn/khk lv/lvs ne/npi or/ory fa/pes mg/plt sw/swh uz/uzn yi/ydd ms/zsm
"""
_SHORT = dict(pair.split("/")[::-1] for pair in (_CODES + _SECOND_CODES).split())

CHINESE = frozenset({"zh", "yue"})
"""Languages, by `primary`, that are written in Chinese characters alone."""
_UNSPACED = CHINESE | {"ja", "th", "lo", "km", "my"}


def primary(language: str) -> str:
    """The language of a code, without script and region: "zh" of "zh-CN", "zho" and "cmn_Hans".

    Args:
        language: Code of two or three letters, as in ISO 639-1, 639-2 or 639-3, in any case.

    Returns:
        Its two letters in ISO 639-1 where it has them, else the code as it is; in lower case.
    """
    code = language.replace("_", "-").split("-")[0].lower()
    return _SHORT.get(code, code)


def is_unspaced(language: str) -> bool:
    """Whether a language, by any code that `primary` takes, is written without spaces between words."""
    return primary(language) in _UNSPACED
