# The runtime on a Jetson. BASE: NVIDIA's JetPack image of the board's release, which has TensorRT and its Python bindings.
#   docker build -f docker/jetson.Dockerfile --build-arg BASE=IMAGE -t posemoe-edge .
ARG BASE
FROM ${BASE}

# JetPack 6 is CUDA 12, JetPack 7 is CUDA 13.
ARG CUDA_BINDINGS=12.6.*

RUN apt-get update && apt-get install -y --no-install-recommends python3-venv && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv --system-site-packages /opt/posemoe
COPY . /src
RUN /opt/posemoe/bin/pip install --no-cache-dir /src "cuda-bindings==${CUDA_BINDINGS}" && rm -rf /src

# Plans are built on the board: keep /root/.cache/posemoe-edge in a volume.
ENTRYPOINT ["/opt/posemoe/bin/posemoe-edge"]
CMD ["doctor"]
