"""The PromQL behind the checks, as templates to be filled by `bot.health.promql.render`.

Each gives the model as `model_name`, the machine as `host` and a workload's pod as `pod`, whatever the exporter calls
them, and a number also when all is well: an empty answer must mean "unknown".
"""
