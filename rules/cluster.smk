# Slurm: a look at the nodes before, the causes of failures after. And what Snakemake gets wrong.
from snakemake.dag import DAG
from snakemake.jobs import GroupJob
from snakemake.scheduling.job_scheduler import JobScheduler

from pr12.cluster import mended, probe, slurm


def on_slurm():
    """Whether this Snakemake hands its jobs to Slurm (known once it starts them)."""
    plugin = workflow.executor_plugin
    return workflow.is_main_process and plugin is not None and plugin.name == "slurm"


def is_first():
    """Whether no other Snakemake runs here, or left its lock: it will be refused, with the remedy."""
    return not (any(Path(".snakemake/locks").glob("*")) or lock.is_held())


# Jobs outlive a killed Snakemake: wait for them before looking at what is missing. (While this file
# is read, that jobs go elsewhere shows only in there being a number of nodes.)
REMOTE = workflow.resource_settings.nodes is not None and shutil.which("squeue")
DRY = workflow.output_settings.dryrun
if workflow.is_main_process and REMOTE and not DRY and is_first():
    with one_sentence():
        slurm.wait(Path.cwd())

mended.wake_once(JobScheduler)
mended.ignore_dates(DAG)
mended.forget_incomplete(DAG)
REFUSED = mended.hear_refusals(GroupJob)  # group -> why it could not be submitted


def srun_options():
    """What all jobs are submitted with: partition and account of the profile, excluded nodes."""
    asked = workflow.resource_settings.default_resources
    excluded = workflow.executor_settings.exclude_failed_nodes
    options = [f"--exclude={excluded}"] if excluded else []
    for name in ("partition", "account"):
        if f"slurm_{name}" in asked:
            options.append(f"--{name}={asked[f'slurm_{name}'].raw}")
    return options


def probe_nodes():
    """Refuse to start if a free node cannot do the work (PR12_PROBE=0: do not look)."""
    if not on_slurm():
        return
    with one_sentence():
        try:
            slurm.ask(["sbatch", "--version"])
            if os.environ.get("PR12_PROBE") != "0":
                probe.check(Path.cwd(), srun_options())
        except UserError:
            workflow.persistence.unlock()
            raise


def tell_failures(logs):
    """Name each job that failed, why, and its logs, after all else that was printed."""
    try:
        told = "\n".join(Path(file).read_text(encoding="utf-8") for file in logs)
        sentences = slurm.failures(told)
    except UserError as error:
        sentences = [str(error)]
    sentences += [
        f"job {group} could not be submitted: {why}" for group, why in REFUSED.items()
    ]
    for sentence in sentences:
        print(f"error: {sentence}", file=sys.stderr, flush=True)
    kept = "what was done is kept; the same command goes on from there"
    print(kept, file=sys.stderr, flush=True)


onerror:
    if on_slurm():
        tell_failures(log)
