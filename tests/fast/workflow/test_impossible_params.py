"""What can never be right in params.yaml is refused while planning, before any job starts."""

import copy

import pytest

import bad_inputs
from pr12.workflow import address, settings, yaml_files
from pr12.workflow.errors import UserError
from pr12.workflow.papers import Graphs

PARAMS = yaml_files.load(address.SRC.parent / "params.yaml")


def planned(changes, papers, run="embedded"):
    """Check params.yaml with some values changed, as Snakemake does before it plans."""
    config = copy.deepcopy({key: PARAMS[key] for key in ("data", *papers)})
    config |= {"run": run, "papers": papers}
    for path, value in changes.items():
        *parents, key = path.split(".")
        place = config
        for parent in parents:
            place = place[parent]
        place[key] = value
    resolved = settings.resolve(config)
    return Graphs(resolved, config["papers"])


# What is changed, with its value, and what the message says is allowed
IMPOSSIBLE = [
    # data
    ("data.plain_digits.train", 5000, "at most 1000, what the others leave of 1797 digits"),
    ("data.plain_digits.test", 1e3, "a whole number; write 1000"),
    ("data.few_digits.validation", 9, "at least 10, one digit of each class"),
    ("data.mnist.train", 50_001, "at most 50000, as many as mnist has"),
    ("data.mnist.test", 20_000, "at most 10000"),
    ("data.mnist.margin", -1, "a number of at least 0"),
    ("data.mnist.dataset", "emnist", "one of digits, mnist"),
    # distill
    ("distill.cases.hard_800.hard_weight", 0.0, "above 0 where soft_weight and logit_weight are 0"),
    ("distill.cases.shallow_logits.soft_weight", 1.0, "false where hard_weight or soft_weight"),
    ("distill.cases.hard_300.noise_fraction", 0.5, "0 where logit_weight is 0"),
    ("distill.cases.hard_300.noise_fraction", 1.5, "a number from 0 to 1"),
    ("distill.train.dropout_hidden", 1.0, "a number from 0 to 0.95"),
    ("distill.train.jitter", 10, "at most 9"),
    ("distill.train.hidden", [], "a list with at least one element"),
    ("distill.train.learning_rate", -0.1, "a number above 0"),
    ("distill.train.transfer_fraction", 1.1, "a number above 0 and at most 1"),
    ("distill.train.transfer_classes", [1, 1], "name it once"),
    ("distill.cases.omit_3.bias_classes", [10], "a number from 0 to 9"),
    ("distill.temperature.temperatures", [1.0, 1.0], "name it once"),
    ("distill.gradient_limit.temperatures", [float("inf")], "a finite number"),
    ("distill.library.sizes", [200, 100], "a list of rising numbers"),
    ("distill.library.sizes", [200], "a list with at least 2"),
    ("distill.library.sizes", [10, 100], "a number of at least 20"),
    ("distill.library.validation", 500, "at most 367, for breast_cancer has 569 rows"),
    ("distill.library.problems", ["iris"], "one of breast_cancer"),
    ("distill.library.nbe_components", [300], "numbers of which one is at most 200"),
    ("distill.library.generators", ["munge"], "one of library's generators, munge"),
    ("distill.compress.sizes", [100, 500], "between 200 and 20000"),
    ("distill.compress.sizes", [500, 200], "a list of rising numbers"),
    ("distill.compress.evaluations", 2000, "at most updates, 900"),
    # vae
    ("vae.faces.train", 5000, "at most 1600, what the others leave of 1965 faces"),
    ("vae.cases.aevb_z2.batch_size", 1001, "at most 1000, as many as data.plain_digits.train has"),
    ("vae.cases.faces_z2.batch_size", 1601, "at most 1600"),
    ("vae.cases.fig3_small_aevb.batch_size", 101, "at most train_examples, 100"),
    ("vae.cases.fig3_small_aevb.train_examples", 1001, "at most 1000"),
    ("vae.train.snapshots", [2000, 1000], "a list of rising numbers"),
    ("vae.mcem.snapshots", [], "a list with at least one element"),
    ("vae.evaluate_likelihood.importance_samples", [50, 1], "a list of rising numbers"),
    ("vae.cases.fig3_all_aevb.estimators", ["posterior", "posterior"], "name it once"),
    ("vae.cases.fig3_all_mcem.estimators", ["importance"], "without importance"),
    ("vae.cases.autoencoder_z2.estimators", ["annealed"], "[], for it has no likelihood"),
    ("vae.gradient_variance.moment", 3, "from -3 to 2"),
    ("vae.gradient_variance.examples", 1001, "at most 1000"),
    ("vae.gradient_variance.samples", [1, 1], "name it once"),
    ("vae.classifier.batch_size", 1001, "at most 1000"),
    ("vae.classifier.seed", -1, "a whole number from 0"),
    ("vae.latent_space.grid", 1, "a number from 2 to 1000"),
    # rca
    ("rca.scans.test", 0, "a number of at least 1"),
    ("rca.scans.phantom_variation", 3.0, "a number from 0 to 2"),
    ("rca.register.fixed", ["foo"], "one of train, reference, calibration, test"),
    ("rca.register.moving", ["test", "test"], "name it once"),
    ("rca.register.deformable_iterations", [0], "3 numbers, as affine_iterations has"),
    ("rca.register.shrink", [0], "a number of at least 1"),
    ("rca.segment.atlases", [1, 3, 17], "up to 16, as many as rca.scans.train has"),
    ("rca.segment.atlases", [1, 2, 3, 4], "at most 3 numbers, the efforts of rca.register"),
    ("rca.train.channels", [8, 16], "a list of 3 elements"),
    ("rca.reverse_cnn.channels", [8, 16, 32, 64], "a list of 3 elements"),
    ("rca.reverse_cnn.subjects", 25, "at most 24"),
    ("rca.cases.cnn.subjects", 9, "at most 8, as many as rca.reverse_cnn has"),
    ("rca.evaluate.references", 9, "at most 8"),
    ("rca.evaluate.threshold", 1.5, "a number from 0 to 1"),
    ("rca.calibrate.coverages", [1.5], "a number above 0 and below 1"),
    ("rca.calibrate.coverages", [0.9, 1.0], "a number above 0 and below 1"),
    ("rca.calibrate.coverages", [], "a list with at least one element"),
    ("rca.calibrate.band", [95, 40], "a list of rising numbers"),
    ("rca.calibrate.band", [40], "a list of 2 elements"),
    ("rca.calibrate.deals", 0, "a number of at least 1"),
    ("rca.tabular.classifiers", ["naive_bayes", "naive_bayes"], "name it once"),
    ("rca.tabular.labelled", 0.9, "a number from 0.1 to 0.8"),
    # stn
    ("stn.train.transformers", 2, "1 where transform is none"),
    ("stn.train.distortions", ["R", "R"], "name it once"),
    ("stn.train.batch_size", 1001, "at most 1000, as many as data.plain_digits.train has"),
    ("stn.evaluate.moved_examples", 501, "at most 500, as many as data.plain_digits.test has"),
    ("stn.evaluate.rotations", [0, 0.0], "name it once"),
    ("stn.evaluate.scales", [0.0], "a number above 0 and at most 1000"),
    ("stn.sequences.train", None, "a number, for sequences are composed without end"),
    ("stn.sequences.heights", [26.0, 18.0], "the lowest and the highest, from 1 to size, 32"),
    ("stn.sequences.heights", [18.0], "a list of 2 elements"),
    ("stn.train_sequences.batch_size", 3001, "at most 3000, as many as stn.sequences.train has"),
    ("stn.parts.size", 31, "at least 32"),
    ("stn.parts.test", None, "a number, for objects are generated without end"),
    ("stn.train_parts.input_size", 41, "at most 40"),
    ("stn.train_parts.output_size", 7, "at least 8, which backbone small needs"),
    ("stn.colocalise.digits", [3, 3], "name it once"),
    ("stn.colocalise.batch_size", 51, "at most images, 50"),
    # photostyle
    ("photostyle.invert.architecture", "vgg99", "one of alexnet"),
    ("photostyle.cases.vgg19_pair3.architecture", "resnet18", "vgg19 or squeezenet1_0"),
    ("photostyle.invert.layers", ["convX"], "a list of layers of vgg19: conv1_1"),
    ("photostyle.photo.content_layers", ["fire2"], "a list of layers of vgg19"),
    ("photostyle.stylise.content_layers", ["conv1_1", "conv1_1"], "name it once"),
    ("photostyle.invert.total_variation", [1.0], "5 numbers, one for each of layers"),
    ("photostyle.invert.photographs", ["lena"], "allowed: astronaut"),
    ("photostyle.stylise.pair", "china_china", "allowed: china_rocket"),
    ("photostyle.stylise.depths", [6], "numbers from 1 to 5"),
    ("photostyle.synthesise.depths", [1, 6], "numbers from 1 to 5"),
    ("photostyle.synthesise.longest_lag", 32, "at most 31"),
    ("photostyle.synthesise.longest_lag", 2, "at least shortest_lag, 3"),
    ("photostyle.photo.photorealism", [1.0, 1.0], "name it once"),
    ("photostyle.photographs.inversion_size", 301, "a number from 16 to 300"),
    ("photostyle.photographs.texture_size", 513, "a number from 16 to 512"),
    ("photostyle.quality.smoothing_epsilon", 0.0, "a number above 0"),
]  # fmt: skip
WEIGHTS = {"photostyle.photo.content_weight": 0.0, "photostyle.photo.style_weight": 0.0}


@pytest.mark.parametrize(("path", "value", "allowed"), IMPOSSIBLE, ids=lambda v: str(v)[:40])
def test_what_can_never_be_right_is_refused_while_planning(path, value, allowed):
    paper, *_, key = path.split(".")
    papers = ["vae" if paper == "data" else paper]
    message = bad_inputs.answered(lambda: planned({path: value}, papers), [allowed])
    assert paper in message or key in message


def test_losses_that_are_all_left_out_are_refused():
    with pytest.raises(UserError, match=r"photo\.style_weight is 0\.0; it must be above 0 where"):
        planned(WEIGHTS, ["photostyle"])


@pytest.mark.parametrize("run", settings.RUNS)
def test_the_params_of_every_run_are_possible(run):
    assert list(planned({}, PARAMS["papers"], run).papers) == PARAMS["papers"]
