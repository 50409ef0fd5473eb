# One rule for each step of each paper: what it reads and makes stands in src/pr12/<paper>/graph.py.
for step in GRAPHS.steps:
    case = step.place or "{case}"
    folder = f"{BUILD}/{step.paper.name}/{case}/{step.name}.{{digest}}"

    rule:
        name:
            step.rule
        input:
            waited_for(step),
        output:
            **{
                name: f"{folder}/{file.format(case=case)}"
                for name, file in step.makes.items()
            },
        log:
            f"{folder}/{step.name}.log",
        wildcard_constraints:
            case="[^/]+",
        priority: lambda w, job=job_of(step): job(w).ask("priority")
        group:
            shared(step)
        localrule: REQUESTS.local(step)
        threads: lambda w, job=job_of(step): REQUESTS.threads(job(w))
        resources:
            **resources(step),
        params:
            command=lambda w, job=job_of(step): job(w).command,
        shell:
            "{params.command} > {log} 2>&1"


rule data:
    input:
        [ancient(job["train"].path) for job in GRAPHS.arrays],
