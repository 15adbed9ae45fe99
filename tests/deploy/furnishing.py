"""An account in which things exist: a stack's own, and others' of names that begin alike."""

from __future__ import annotations

import json
from collections.abc import Sequence

from moto.sagemaker.models import sagemaker_backends

from tests.deploy.conftest import STACK, Cloud

BUCKET = f"{STACK}-123456789012-eu-central-1"
ROLE = "arn:aws:iam::123456789012:role/any"
TAGS = [{"Key": "aerial-featurizer:stack", "Value": STACK}]
TRAINING, TRANSFORMS, ENDPOINTS = (f"/aws/sagemaker/{name}" for name in ("TrainingJobs", "TransformJobs", "Endpoints"))


def hosting(cloud: Cloud, name: str, tags: Sequence[dict[str, str]]) -> None:
    """A model, its endpoint with autoscaling, an alarm and a log."""
    sagemaker, scaling = cloud.client("sagemaker"), cloud.client("application-autoscaling")
    image = {"Image": "image", "ModelDataUrl": f"s3://{BUCKET}/models/5eed/model.tar.gz"}
    sagemaker.create_model(ModelName=name, PrimaryContainer=image, ExecutionRoleArn=ROLE, Tags=tags)
    variant = {"VariantName": "all", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 2}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant], Tags=tags)
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name, Tags=tags)
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{name}/variant/all",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=4)
    metric = {"PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}}
    scaling.put_scaling_policy(
        **target,
        PolicyName=f"{name}-by-load",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={"TargetValue": 100, **metric},
    )
    cloud.client("cloudwatch").put_metric_alarm(
        AlarmName=f"{name}-backlog",
        MetricName="HasBacklogWithoutCapacity",
        Namespace="AWS/SageMaker",
        EvaluationPeriods=1,
        ComparisonOperator="GreaterThanThreshold",
        Threshold=1,
        Period=60,
        Statistic="Average",
        Tags=tags,
    )
    cloud.client("logs").create_log_group(logGroupName=f"{ENDPOINTS}/{name}")


def registry(cloud: Cloud, name: str, tags: Sequence[dict[str, str]], versions: int) -> None:
    sagemaker = cloud.client("sagemaker")
    sagemaker.create_model_package_group(
        ModelPackageGroupName=name, ModelPackageGroupDescription="of a test", Tags=tags
    )
    for version in range(versions):
        sagemaker.create_model_package(
            ModelPackageGroupName=name,
            ModelApprovalStatus="Approved",
            CustomerMetadataProperties={"sha256": f"{version}" * 64, "macro_average_precision": f"0.8{version}00"},
        )


def training(cloud: Cloud, name: str, tags: Sequence[dict[str, str]], *, runs: bool) -> None:
    cloud.client("sagemaker").create_training_job(
        TrainingJobName=name,
        AlgorithmSpecification={"TrainingImage": "image", "TrainingInputMode": "File"},
        RoleArn=ROLE,
        OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/jobs/"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
        StoppingCondition={"MaxRuntimeInSeconds": 3600},
        Tags=tags,
    )
    jobs = sagemaker_backends["123456789012"]["eu-central-1"].training_jobs
    jobs[name].training_job_status = "InProgress" if runs else "Completed"
    stream(cloud, TRAINING, f"{name}/algo-1-1")


def transform(cloud: Cloud, name: str, tags: Sequence[dict[str, str]], model: str) -> None:
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/tiles/"}}
    cloud.client("sagemaker").create_transform_job(
        TransformJobName=name,
        ModelName=model,
        TransformInput={"DataSource": source},
        TransformOutput={"S3OutputPath": f"s3://{BUCKET}/transforms/{name}/"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
        Tags=tags,
    )
    jobs = sagemaker_backends["123456789012"]["eu-central-1"].transform_jobs
    jobs[name].transform_job_status = "Completed"
    stream(cloud, TRANSFORMS, f"{name}/one")


def stream(cloud: Cloud, group: str, name: str) -> None:
    logs = cloud.client("logs")
    if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName=name)


def objects(cloud: Cloud) -> None:
    """More than one call deletes, versions of a time when somebody had switched them on, and half an upload."""
    s3 = cloud.client("s3")
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    for body in (b"first", b"second"):
        s3.put_object(Bucket=BUCKET, Key="runs/one/config.json", Body=body)
    s3.delete_object(Bucket=BUCKET, Key="runs/one/config.json")
    for number in range(12):
        s3.put_object(Bucket=BUCKET, Key=f"tiles/{number:04}.tif", Body=bytes(100))
    s3.create_multipart_upload(Bucket=BUCKET, Key="stores/one/images.npy")


def image(cloud: Cloud) -> None:
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    config = {"mediaType": "application/vnd.docker.container.image.v1+json", "size": 9, "digest": "sha256:1"}
    cloud.client("ecr").put_image(
        repositoryName=STACK,
        imageManifest=json.dumps({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": []}),
        imageTag="latest",
    )


def furnish(cloud: Cloud) -> None:
    """Everything that commands make, in an account where `setup` was run."""
    hosting(cloud, STACK, TAGS)
    registry(cloud, STACK, TAGS, versions=2)
    training(cloud, f"{STACK}-pretrain-1", TAGS, runs=False)
    training(cloud, f"{STACK}-pretrain-2", TAGS, runs=True)
    transform(cloud, f"{STACK}-transform-1", TAGS, STACK)
    objects(cloud)
    image(cloud)


def furnish_for_others(cloud: Cloud) -> str:
    """The same of a colleague, untagged, and the name it has."""
    name = f"{STACK}-of-a-colleague"
    hosting(cloud, name, [])
    registry(cloud, name, [], versions=1)
    training(cloud, f"{name}-1", [], runs=True)
    transform(cloud, f"{name}-2", [], name)
    return name
