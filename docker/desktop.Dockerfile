# The runtime on a desktop with an RTX card: TensorRT for RTX needs nothing of CUDA but the driver, which --gpus brings.
#   docker build -f docker/desktop.Dockerfile -t posemoe-edge .
FROM python:3.12-slim

ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY . /src
RUN pip install --no-cache-dir "/src[cpu,camera,tensorrt-rtx]" && rm -rf /src

ENTRYPOINT ["posemoe-edge"]
CMD ["doctor"]
