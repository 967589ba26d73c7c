# The runtime on a desktop with an RTX card: TensorRT for RTX needs only the NVIDIA driver, which --gpus provides.
#   docker build -f docker/desktop.Dockerfile -t posemoe-edge .
FROM python:3.12-slim

ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY . /src
RUN pip install --no-cache-dir "/src[cpu,camera,tensorrt-rtx,metrics]" && rm -rf /src

# Plans and TensorRT's timings: keep /root/.cache/posemoe-edge in a volume.
ENTRYPOINT ["posemoe-edge"]
CMD ["doctor"]
