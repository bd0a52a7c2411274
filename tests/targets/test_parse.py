from __future__ import annotations

import sys

import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.morse import MorsePotential
from ase.calculators.tip3p import TIP3P
from ase.units import kB
from hypothesis import given
from hypothesis import strategies as st

from ase_proxima.errors import InputError
from ase_proxima.targets import best_quantum_target, describe, parse_target


def test_lennard_jones_is_argon():
    argon = parse_target("lj")
    depth = 120 * kB  # Rahman 1964
    dimer = Atoms("Ar2", positions=[[0, 0, 0], [0, 0, 2 ** (1 / 6) * 3.4]], calculator=argon)
    assert dimer.get_potential_energy() == pytest.approx(-depth, rel=1e-12)
    assert argon.parameters["rc"] == pytest.approx(10.2)


def test_lennard_jones_takes_parameters():
    parameters = parse_target("lj:sigma=3, epsilon=0.01, rc=9,smooth=false").parameters
    assert (parameters["sigma"], parameters["epsilon"], parameters["rc"]) == (3, 0.01, 9)
    assert parameters["smooth"] is False


@pytest.mark.parametrize(
    ("spec", "kind"),
    [("emt", EMT), ("EMT", EMT), (" lj ", LennardJones), ("morse", MorsePotential), ("tip3p", TIP3P)],
)
def test_ase_calculators_go_by_their_names(spec, kind):
    assert isinstance(parse_target(spec), kind)


def test_options_reach_ase_calculators():
    assert parse_target("tip3p:rc=4.5").rc == 4.5
    assert parse_target("morse:r0=1.2", epsilon=0.5).parameters["epsilon"] == 0.5


def test_function_of_a_module():
    assert isinstance(parse_target("ase.calculators.emt:EMT"), EMT)


@pytest.mark.psi4
@pytest.mark.usefixtures("needs_psi4")
def test_psi4_is_checked_for_the_atoms():
    with parse_target("psi4:HF/6-31G(d,p)", atoms=molecule("CH4"), memory_mb=300) as calculator:
        assert calculator.n_starts == 1
        assert calculator.n_calls == 0
    for spec, words in (
        ("psi4:HFF/6-31G*", "no method 'HFF'; close to it: hf"),
        ("psi4:HF/6-31X", "cannot use the basis '6-31X'; close to it: 6-31g"),
    ):
        with pytest.raises(InputError, match=words):
            parse_target(spec)
    with pytest.raises(InputError, match="lacks an element"):
        parse_target("psi4:HF/6-31G*", atoms=Atoms("U"))


@pytest.mark.pyscf
def test_pyscf_is_checked_for_the_atoms():
    pytest.importorskip("pyscf")
    assert parse_target("pyscf:B3LYP/cc-pVDZ", atoms=molecule("CH4")).parameters["method"] == "B3LYP"
    with pytest.raises(InputError, match="for U"):
        parse_target("pyscf:HF/6-31G*", atoms=Atoms("U"))
    with pytest.raises(InputError, match="multiplicity 2"):
        parse_target("pyscf:HF/6-31G*", atoms=molecule("CH4"), multiplicity=2)


@pytest.mark.xtb
@pytest.mark.parametrize(
    ("spec", "method"), [("xtb", "GFN2-xTB"), ("xtb:GFN2", "GFN2-xTB"), ("xtb:gfn1-xtb", "GFN1-xTB")]
)
def test_xtb(spec, method):
    pytest.importorskip("tblite")
    assert parse_target(spec).parameters["method"] == method
    assert "stress" in parse_target(spec, atoms=bulk("Si")).implemented_properties


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("", "unknown target ''.*psi4:METHOD/BASIS"),
        ("emd", "unknown target 'emd': did you mean emt"),
        ("pyscff", "did you mean pyscf"),
        ("zzzzzz", "use one of psi4:METHOD/BASIS, pyscf:METHOD/BASIS"),
        ("psi4", "lacks method and basis: write psi4:METHOD/BASIS"),
        ("psi4:", "write psi4:METHOD/BASIS"),
        ("psi4:HF", "write psi4:METHOD/BASIS"),
        ("psi4:/6-31G*", "write psi4:METHOD/BASIS"),
        ("psi4:HF/6-31G*/x", "write psi4:METHOD/BASIS"),
        ("pyscf", "write pyscf:METHOD/BASIS, e.g. pyscf:HF/6-31G"),
        ("lj:sigma", "option 'sigma': write NAME:option=value"),
        ("lj:", "write NAME:option=value"),
        ("lj:sigma=1,sigma=2", "'sigma' twice"),
        ("lj:sigma=-1", "sigma of target lj must be a positive number, got -1"),
        ("lj:epsilon=nan", "epsilon of target lj must be a positive number, got nan"),
        ("lj:rc=inf", "rc of target lj must be a positive number, got inf"),
        ("lj:sigma=true", "sigma of target lj must be a positive number, got True"),
        ("lj:rc=5,ro=6", "ro of target lj must be below rc = 5, got 6"),
        ("lj:gamma=1", "unknown option 'gamma' of target 'lj': use one of epsilon, rc, ro, sigma, smooth"),
        ("morse:eps=1", "unknown option 'eps' of target 'morse:eps=1': use one of epsilon"),
        ("emt:x=1", "unknown option 'x'"),
        ("a b:c", "must be MODULE:FUNCTION"),
        ("no_such_module:make", "cannot import the module"),
        ("kim", "target 'kim' cannot be set up"),
    ],
)
def test_bad_names_are_refused_in_one_line(spec, words):
    with pytest.raises(InputError, match=words) as caught:
        parse_target(spec)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=12).filter(lambda text: "." not in text and ":" not in text))
def test_any_text_is_a_calculator_or_an_input_error(text):
    calculator, message = None, ""
    try:
        calculator = parse_target(f"lj:{text}")
    except InputError as error:
        message = str(error)
    assert "\n" not in message
    if message:
        return
    assert isinstance(calculator, LennardJones)
    assert "=" in text or calculator.parameters == parse_target("lj").parameters


@given(
    st.floats(0.1, 10.0), st.floats(1e-4, 1.0), st.booleans(), st.permutations(["sigma", "epsilon", "smooth"])
)
def test_options_are_those_that_were_written(sigma, epsilon, smooth, order):
    given = {"sigma": sigma, "epsilon": epsilon, "smooth": smooth}
    calculator = parse_target("lj:" + ",".join(f"{name}={given[name]}" for name in order))
    assert {name: calculator.parameters[name] for name in given} == given


def test_emt_is_checked_for_the_elements():
    with pytest.raises(InputError, match="no parameters for Ar, only for Ag, Al"):
        parse_target("emt", atoms=Atoms("Ar"))
    assert isinstance(parse_target("emt", atoms=bulk("Al")), EMT)


def test_missing_packages_name_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pyscf.dft", None)
    monkeypatch.setitem(sys.modules, "tblite.ase", None)
    monkeypatch.setenv("PROXIMA_PSI4_PYTHON", str(tmp_path / "python"))
    with pytest.raises(InputError, match=r"pip install 'ase-proxima\[pyscf\]'"):
        parse_target("pyscf:HF/6-31G*")
    with pytest.raises(InputError, match=r"pip install 'ase-proxima\[xtb\]'"):
        parse_target("xtb:GFN2")
    with pytest.raises(InputError, match=r"apt install psi4.*or use PySCF"):
        parse_target("psi4:HF/6-31G*")
    with pytest.raises(
        InputError, match=r"no quantum-chemistry program: Psi4 was not found.*PySCF is not installed"
    ):
        best_quantum_target()


@pytest.mark.pyscf
def test_pyscf_stands_in_where_there_is_no_psi4(monkeypatch, tmp_path):
    pytest.importorskip("pyscf")
    monkeypatch.setenv("PROXIMA_PSI4_PYTHON", str(tmp_path / "python"))
    assert best_quantum_target("HF/cc-pVDZ") == "pyscf:HF/cc-pVDZ"


@pytest.mark.psi4
@pytest.mark.usefixtures("needs_psi4")
def test_psi4_is_preferred():
    assert best_quantum_target() == "psi4:HF/6-31G*"


def test_every_form_is_described():
    assert set(describe()) == {
        "psi4:METHOD/BASIS",
        "pyscf:METHOD/BASIS",
        "xtb:METHOD",
        "asap",
        "qe:FUNCTIONAL",
        "emt",
        "lj",
        "sw:Si",
        "NAME",
        "MODULE:FUNCTION",
        "TARGET,timeout=S",
        "TARGET,local=TOL",
    }
