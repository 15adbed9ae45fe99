# docker build .                 what serves on CPUs (OpenVINO, no torch)
# docker build --target gpu .    what serves on GPUs (torch, CUDA)
ARG BASE_IMAGE=python:3.12-slim-bookworm

# The packages are made in stages that are not shipped: sources, pip and what only builds stay there.
FROM ${BASE_IMAGE} AS sources
RUN python -m venv --without-pip /opt/venv
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE /source/
COPY service /source/service

FROM sources AS gpu-packages
RUN pip --python /opt/venv/bin/python install --no-cache-dir --constraint /source/constraints.txt "/source[gpu]"
# 1 GB of compiler for torch.compile, which the engine does not use: it would need gcc, too.
RUN pip --python /opt/venv/bin/python uninstall --yes triton

FROM sources AS cpu-packages
RUN pip --python /opt/venv/bin/python install --no-cache-dir --constraint /source/constraints.txt "/source[cpu]"
# What no service on a CPU ever loads, 210 MB: plugins for other devices, readers of other formats of models, remote
# Arrow, headers, tests, and boto3's descriptions of services that are neither S3 nor ways to sign in.
RUN cd /opt/venv/lib/python3*/site-packages \
 && rm -rf openvino/libs/*_gpu_plugin* openvino/libs/*_npu_plugin* openvino/libs/cache.json openvino/libs/*_frontend* \
      openvino/include openvino/cmake pyarrow/*flight* pyarrow/include \
 && find . -type d -name tests -prune -exec rm -rf {} + \
 && find botocore/data -mindepth 1 -maxdepth 1 -type d \
      ! -name s3 ! -name sts ! -name sso ! -name sso-oidc ! -name signin -exec rm -rf {} +

FROM ${BASE_IMAGE} AS base
# rasterio's wheel links libexpat, which slim images lack. Nor have they Python's own modules compiled: who may not write
# there would compile them at each start, which takes each process 0.3 s.
RUN apt-get update \
 && apt-get install -y --no-install-recommends libexpat1 \
 && rm -rf /var/lib/apt/lists/* \
 && python -m compileall -q -x site-packages "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"

ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s CMD ["python", "-c", "import http.client, os, sys; \
service = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('SAGEMAKER_BIND_TO_PORT') or 8080), timeout=4); \
service.request('GET', '/ping'); sys.exit(service.getresponse().status != 200)"]
# SageMaker starts `docker run IMAGE serve`; exec form, so that SIGTERM arrives.
ENTRYPOINT ["python", "-m", "service"]
CMD ["serve"]

FROM base AS gpu
COPY --from=gpu-packages /opt/venv /opt/venv

FROM base AS cpu
COPY --from=cpu-packages /opt/venv /opt/venv
