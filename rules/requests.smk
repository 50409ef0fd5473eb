# What jobs ask of a cluster, and which go together; a run on one machine heeds none of it.
from pr12.cluster import measured
from pr12.cluster import requests as requested

try:
    MEASURED = measured.read(Path(workflow.basedir, f"benchmarks/measured/{RUN}.csv"))
except UserError as error:
    print(f"error: {error}", file=sys.stderr, flush=True)
    os._exit(2)
# Starting a job takes some seconds (benchmarks/measured/slurm.json): one must be worth many times that,
# on each core that it may ask for. Of trainings on a GPU a job runs one at a time.
WORTH_A_JOB = 200.0 * (1 if GPU else workflow.cores or 1)
QUICK = 60.0  # seconds that may be spent on the submitting host itself


def took(rule, case=None):
    """What a job took when it was last measured, or None; of a rule with one job, without case."""
    paper, _, step = rule.partition("_")
    if case is not None:
        return MEASURED.get(measured.Job(paper, case, step))
    found = [job for job in MEASURED if (job.paper, job.step) == (paper, step)]
    return max((MEASURED[job] for job in found), key=lambda m: m.seconds, default=None)


def requests(rule, mem_mb, runtime):
    """Memory (MiB) and time (minutes) of a rule's jobs: as measured, else as given here."""

    def memory(wildcards, attempt):
        return requested.memory_mb(took(rule, wildcards.get("case")), mem_mb, attempt)

    def time(wildcards, attempt):
        return requested.minutes(took(rule, wildcards.get("case")), runtime, attempt)

    return {"mem_mb": memory, "runtime": time}


def shared(group):
    """A group whose jobs share one job of the cluster, also where none waits for another."""
    components = workflow.group_settings.group_components
    if isinstance(components, dict):  # not in a dry run, which shows them one by one
        components[group] = 1000
    return group


def one_job(group):
    """The same, said when jobs are counted: before, Snakemake does not keep it."""
    return lambda w: shared(group)


def together(name, *rules):
    """Groups of rules that follow on one another: rule -> group of its job, by case."""
    steps = {rule: rule.split("_", 1) for rule in rules}
    seconds = {
        (job.case, job.step): measure.seconds
        for job, measure in MEASURED.items()
        if [job.paper, job.step] in steps.values()
    }
    names = requested.shared(seconds, WORTH_A_JOB)

    def of_rule(rule):
        step = steps[rule][1]
        return lambda w: shared(
            f"{name}_{names.get((w.case, step), f'{w.case}_{step}')}"
        )

    return of_rule


def chained(name, *rules):
    """The same for rules whose cases wait for one another: one job for all that is short."""
    steps = {rule: rule.split("_", 1) for rule in rules}
    found = {rule: 0.0 for rule in rules}
    for job, measure in MEASURED.items():
        for name_of_rule, step in steps.items():
            if [job.paper, job.step] == step:
                found[name_of_rule] += measure.seconds
    measured_all = all(found.values())
    short = measured_all and sum(found.values()) < 2 * WORTH_A_JOB

    def of_rule(rule):
        if short:
            return one_job(name)
        few = 0 < found[rule] < WORTH_A_JOB
        return lambda w: shared(rule if few else f"{rule}_{w.get('case', '')}")

    return of_rule


def quick(rule):
    """Whether data are prepared on the submitting host: where it was measured to be quick."""
    measure = took(rule)
    return measure is not None and measure.seconds < QUICK
