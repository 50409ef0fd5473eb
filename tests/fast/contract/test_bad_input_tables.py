"""Tables of bad inputs have one form, and each trouble of the users' trials has its test."""

from pathlib import Path

import pytest

import bad_inputs

TESTS = Path(__file__).resolve().parents[2]
LEAST = 700  # rows that there are at least; a table that is lost is seen
ENTRIES = {"workflow": 10, "segmentations": 9, "photographs": 10}  # of the users' trials
# Trouble -> the tests, or rows of tables, that hold what is right
TRIALS = {
    "workflow 1: exchanged outputs": [
        "workflow/test_address.py: test_command_lines_that_re_address"
    ],
    "workflow 2: damaged results": [
        "workflow/test_results.py: test_a_reader_names_what_is_damaged_and_removes_the_folder"
    ],
    "workflow 3: a key twice": ['workflow/test_bad_inputs.py: "key twice"'],
    "workflow 4: half a run": [
        "workflow/test_lock.py: test_a_report_of_half_a_run_is_refused",
        "../workflow/test_evidence.py: test_a_run_that_fails_in_one_case_loses_no_evidence",
    ],
    "workflow 5: a full disk": [
        "core/test_checkpoints.py: test_a_full_disk_is_one_sentence_and_the_checkpoint",
        "photostyle/test_photostyle_transfer.py: test_a_checkpoint_that_cannot_be_written_is",
    ],
    "workflow 6: dvc exp run -S": [
        "contract/test_yaml_contract.py: test_an_experiment_of_dvc_changes_one_line"
    ],
    "workflow 7: a lock after a kill": [
        "workflow/test_lock.py: test_a_killed_holder_leaves_no_lock_and_the_command"
    ],
    "workflow 8: a pull that brings nothing": [
        "contract/test_makefile.py: test_a_pull_that_brings_nothing_says_what_makes_the_results"
    ],
    "workflow 9: 1e-3 is a text": ['workflow/test_bad_inputs.py: "rate is a text"'],
    "workflow 10: folders and clones": [
        "workflow/test_lock.py: test_a_folder_that_cannot_be_written_to_is_told",
        "contract/test_makefile.py: test_results_of_a_full_run_are_not_removed_without_a_question",
        "contract/test_makefile.py: test_an_environment_of_somebody_elses_is_used_as_it_is",
    ],
    "segmentations 1: files without headers": [
        'rca/test_rca_predict_trials.py: "headerless cases"'
    ],
    "segmentations 2: two forms of a header": ['rca/test_rca_predict_trials.py: "sform elsewhere"'],
    "segmentations 3: calibration that cannot be": [
        'rca/test_rca_predict_trials.py: "copied calibration"'
    ],
    "segmentations 4: a name that is not UTF-8": [
        "rca/test_rca_predict_trials.py: test_a_name_that_is_not_utf_8_is_read"
    ],
    "segmentations 5: too little memory": [
        "rca/test_rca_predict_trials.py: test_what_does_not_fit_into_memory_is_named"
    ],
    "segmentations 6: lost cases": [
        "rca/test_rca_predict_trials.py: test_lost_cases_and_references_are_told_at_the_end"
    ],
    "segmentations 7: foreign numbers": [
        'rca/test_rca_predict_trials.py: "foreign numbers"',
        'rca/test_rca_predict_trials.py: "exchanged folders"',
        'rca/test_rca_predict_trials.py: "masks through JPEG"',
    ],
    "segmentations 9: headers, masks, folders": [
        'rca/test_rca_predict_trials.py: "labels of a wrong slope"',
        'rca/test_rca_predict_trials.py: "a white mask beside two structures"',
        "rca/test_rca_user_files.py: test_labels_on_a_crop_of_the_image_lie_where_they_were",
        "rca/test_rca_user_files.py: test_a_shear_of_less_than_half_a_voxel_is_left_as_it_is",
        "rca/test_rca_user_files.py: test_labels_that_are_whole_but_for_rounding_are_rounded",
        "rca/test_rca_user_folders.py: test_nnunets_folders_are_read_with_the_names",
        'rca/test_rca_predict_trials.py: "its own reference"',
        'rca/test_rca_predict_trials.py: "two runs"',
        "rca/test_rca_predict_trials.py: test_a_structure_that_was_asked_for_does_not_vanish",
        "rca/test_rca_predict_trials.py: test_references_of_inverted_contrast_are_told",
    ],
    "photographs 1: a bright sky": [
        "photostyle/test_photostyle_transfer.py: test_a_bright_sky_becomes_black_everywhere"
    ],
    "photographs 2: hidden colours": [
        "photostyle/test_photostyle_transfer.py: test_hidden_colours_of_a_style_are_not_used"
    ],
    "photographs 3: Ctrl-C while it writes": [
        "photostyle/test_photostyle_transfer.py: test_ctrl_c_during_the_writing_leaves_a_checkpoint"
    ],
    "photographs 4: outputs of one stem": [
        "photostyle/test_photostyle_transfer.py: test_two_outputs_of_one_stem_have_a_checkpoint"
    ],
    "photographs 8: nothing is done": ['photostyle/test_photostyle_transfer.py: "style-weight-1e'],
    "photographs 9: classes": [
        "photostyle/test_photostyle_transfer.py: test_the_classes_are_told_with_their_shares",
        'photostyle/test_photostyle_transfer.py: "masks-exchanged"',
    ],
    "photographs 10: remedies that help": [
        'photostyle/test_photostyle_transfer.py: "strip"',
        "photostyle/test_photostyle_transfer.py: test_a_damaged_checkpoint_is_said_to_be_damaged",
        "photostyle/test_photostyle_transfer.py: test_ctrl_c_while_it_is_imported_gives",
    ],
}
# What the tools themselves still have to mend, or say in their documents
LEFT = {
    "segmentations 8": "raw scores are too low with few references: told in the page, not refused",
    "photographs 5": "profiles of colours are kept, and not applied",
    "photographs 6": "memory of large photographs with many classes is not estimated",
    "photographs 7": "grain in flat regions depends on smoothing_epsilon",
}


def test_there_are_as_many_rows_as_there_were():
    numbers = bad_inputs.counted(TESTS)
    assert sum(numbers.values()) >= LEAST
    assert all(numbers.values())


def test_every_entry_of_the_users_trials_is_tested_or_left():
    listed = [name.partition(":")[0] for name in (*TRIALS, *LEFT)]
    assert sorted(listed) == sorted(
        f"{part} {number}" for part, count in ENTRIES.items() for number in range(1, count + 1)
    )


@pytest.mark.parametrize("trouble", TRIALS)
def test_the_tests_of_a_trouble_are_there(trouble):
    for place in TRIALS[trouble]:
        file, _, text = place.partition(": ")
        assert text in (TESTS / "fast" / file).read_text(encoding="utf-8"), place
