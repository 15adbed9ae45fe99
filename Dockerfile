ARG BASE_IMAGE=python:3.12-slim-bookworm
FROM ${BASE_IMAGE}

# rasterio's wheel links libexpat, which slim images lack.
RUN apt-get update \
 && apt-get install -y --no-install-recommends libexpat1 \
 && rm -rf /var/lib/apt/lists/*

COPY pyproject.toml constraints.txt README.md LICENSE NOTICE /source/
COPY service /source/service
COPY training /source/training
RUN pip install --no-cache-dir --constraint /source/constraints.txt "/source[cpu]" && rm -rf /source

ENV PYTHONUNBUFFERED=1
EXPOSE 8080
# SageMaker starts `docker run IMAGE serve`; exec form, so that SIGTERM arrives.
ENTRYPOINT ["python", "-m", "service"]
CMD ["serve"]
