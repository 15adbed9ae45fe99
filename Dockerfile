# docker build .                 what serves on CPUs (OpenVINO, no torch)
# docker build --target gpu .    what serves on GPUs (torch, CUDA)
ARG BASE_IMAGE=python:3.12-slim-bookworm
FROM ${BASE_IMAGE} AS base

# rasterio's wheel links libexpat, which slim images lack.
RUN apt-get update \
 && apt-get install -y --no-install-recommends libexpat1 \
 && rm -rf /var/lib/apt/lists/*

COPY pyproject.toml constraints.txt README.md LICENSE NOTICE /source/
COPY service /source/service
COPY training /source/training

ENV PYTHONUNBUFFERED=1
EXPOSE 8080
# SageMaker starts `docker run IMAGE serve`; exec form, so that SIGTERM arrives.
ENTRYPOINT ["python", "-m", "service"]
CMD ["serve"]

FROM base AS gpu
RUN pip install --no-cache-dir --constraint /source/constraints.txt "/source[gpu]" && rm -rf /source

FROM base AS cpu
RUN pip install --no-cache-dir --constraint /source/constraints.txt "/source[cpu]" && rm -rf /source
