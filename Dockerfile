# The server in one image: docker run -p 8088:8088 -v quickim:/data quickim
# Everything is set by the QUICKIM_* variables of the README. compose.yaml starts it with all that it needs.

FROM python:3.13-slim AS build
WORKDIR /build
RUN python -m venv /venv
COPY requirements.txt .
RUN /venv/bin/pip install --quiet --no-cache-dir --disable-pip-version-check -r requirements.txt

FROM python:3.13-slim
# Anything but root; /data is created here so that a fresh volume belongs to it too.
RUN groupadd --gid 10001 quickim \
    && useradd --uid 10001 --gid 10001 --home-dir /app --no-create-home --shell /usr/sbin/nologin quickim \
    && install -d -o quickim -g quickim -m 0700 /data
WORKDIR /app
COPY --from=build /venv /venv
# Root's, so that the server cannot change its own code.
COPY . .
RUN /venv/bin/python -m compileall -q .
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    QUICKIM_BIND=0.0.0.0:8088 \
    QUICKIM_DATA_DIR=/data
# The number, not the name: orchestrators that refuse root cannot look it up.
USER 10001:10001
VOLUME /data
EXPOSE 8088
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["python", "-c", "import os, urllib.request; port = os.environ['QUICKIM_BIND'].rpartition(':')[2]; urllib.request.urlopen(f'http://127.0.0.1:{port}/healthz', timeout=2)"]
CMD ["python", "manage.py", "serve"]
