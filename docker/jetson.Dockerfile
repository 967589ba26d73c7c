# The runtime on a Jetson. BASE: NVIDIA's image for the Jetson's release, with TensorRT and its Python bindings (docs/how-to/jetson.md).
#   docker build -f docker/jetson.Dockerfile --build-arg BASE=IMAGE -t posemoe-edge .
ARG BASE
FROM ${BASE}

# JetPack 6 is CUDA 12, JetPack 7 is CUDA 13.
ARG CUDA_BINDINGS=12.*
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

# The version of python3-venv depends on BASE.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv && rm -rf /var/lib/apt/lists/*
# The check does not import tensorrt, because its libraries are mounted from the Jetson only when the container runs.
RUN python3 -m venv --system-site-packages /opt/posemoe \
 && /opt/posemoe/bin/python -c "import importlib.util as u; assert u.find_spec('tensorrt'), 'BASE has no tensorrt for Python'"
COPY . /src
RUN /opt/posemoe/bin/pip install --no-cache-dir "/src[cpu,camera]" "cuda-bindings==${CUDA_BINDINGS}" && rm -rf /src

# Plans are built on the Jetson: keep /root/.cache/posemoe-edge in a volume.
ENTRYPOINT ["/opt/posemoe/bin/posemoe-edge"]
CMD ["doctor"]
