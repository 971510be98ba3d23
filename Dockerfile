# The server in one image: docker run -p 8088:8088 -v quickim:/data quickim
# Everything is set by the QUICKIM_* variables of the README.

FROM python:3.13-slim AS build
RUN python -m venv /venv
COPY requirements.txt .
RUN /venv/bin/pip install --quiet --no-cache-dir --disable-pip-version-check -r requirements.txt

FROM python:3.13-slim
# Anything but root; /data is created here so that a fresh volume belongs to it too.
RUN useradd --system --uid 10001 --home-dir /app quickim && install -d -o quickim -g quickim -m 0700 /data
COPY --from=build /venv /venv
COPY . /app
WORKDIR /app
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    QUICKIM_BIND=0.0.0.0:8088 \
    QUICKIM_DATA_DIR=/data
USER quickim
VOLUME /data
EXPOSE 8088
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["python", "-c", "import os, urllib.request; port = os.environ['QUICKIM_BIND'].rpartition(':')[2]; urllib.request.urlopen(f'http://127.0.0.1:{port}/healthz', timeout=2)"]
CMD ["python", "manage.py", "serve"]
