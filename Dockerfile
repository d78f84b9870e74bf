# syntax=docker/dockerfile:1
ARG PYTHON=3.12

# The build stage: a virtual environment with every dependency pinned by hash, then imagefinder itself.
FROM python:${PYTHON}-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
RUN python -m venv --without-pip /opt/imagefinder
COPY requirements/build.txt requirements/
RUN python -m pip install --root-user-action ignore --require-hashes --only-binary :all: -r requirements/build.txt
# runtime, or cluster for collections in databases and object stores
ARG REQUIREMENTS=runtime
COPY requirements/runtime.txt requirements/cluster.txt requirements/
RUN python -m pip --python /opt/imagefinder/bin/python install --require-hashes --only-binary :all: -r requirements/${REQUIREMENTS}.txt
COPY pyproject.toml setup.py README.md LICENSE ./
COPY src src
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && python -m pip --python /opt/imagefinder/bin/python install --no-deps dist/*.whl \
    && /opt/imagefinder/bin/python -c 'from imagefinder.kernels import _native'

# What runs: the interpreter, the environment, an unprivileged user, and nothing that can be written but two volumes.
FROM python:${PYTHON}-slim-bookworm
LABEL org.opencontainers.image.title="imagefinder" \
      org.opencontainers.image.description="Finds images by image: REST service and command line" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 imagefinder \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin imagefinder \
    && install --directory --owner 10001 --group 10001 /data /models
COPY --from=build /opt/imagefinder /opt/imagefinder
ENV PATH=/opt/imagefinder/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    IMAGEFINDER_COLLECTION=/data/collection \
    IMAGEFINDER_MODELS=/models/imagefinder \
    IMAGEFINDER_COLLECTIONS=/data/collections \
    IMAGEFINDER_STATE=/data/server \
    IMAGEFINDER_LOG_FORMAT=json \
    HF_HOME=/models/huggingface
USER 10001:10001
WORKDIR /data
VOLUME ["/data", "/models"]
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-m", "imagefinder.server.probe"]
ENTRYPOINT ["imagefinder"]
CMD ["serve", "--host", "0.0.0.0"]
