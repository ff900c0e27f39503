# An image that answers (segue serve), trains what needs no torch, and keeps everything in /data.
#
#     docker build -t segue .
#     docker run -v segue:/data -p 127.0.0.1:8000:8000 segue
#
# docs/guides/deploy.md says more. tests/project/test_deploy.py runs these instructions by script.

FROM python:3.13-slim-bookworm AS build
WORKDIR /build
COPY requirements/service.txt requirements/build.txt requirements/
# The environment has no pip of its own: the build's pip installs into it. Every file is known by its hash.
RUN python -m venv --without-pip /opt/segue
RUN python -m pip --python /opt/segue/bin/python install --no-cache-dir --disable-pip-version-check \
        --no-deps --only-binary :all: --require-hashes -r requirements/service.txt
RUN python -m venv /opt/build && /opt/build/bin/python -m pip install --no-cache-dir \
        --disable-pip-version-check --no-deps --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/build/bin/python -m pip wheel --disable-pip-version-check --no-deps --no-build-isolation \
        --wheel-dir dist . \
    && python -m pip --python /opt/segue/bin/python install --no-cache-dir \
        --disable-pip-version-check --no-deps --no-index dist/*.whl \
    && mkdir /opt/data

FROM python:3.13-slim-bookworm
COPY --from=build /opt/segue /opt/segue
COPY --from=build --chown=10001:10001 --chmod=700 /opt/data /data
# Numba compiles for the very processor at the first start and keeps the code in the volume. Compiled
# at build time it would be code for the builder's processor, and thrown away on any other.
ENV PATH=/opt/segue/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/data \
    XDG_CACHE_HOME=/data/cache
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
# Liveness is the one path that needs no token. Not by urllib, which would heed HTTP_PROXY.
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 CMD ["python", "-c", \
    "from http.client import HTTPConnection as H; c = H('127.0.0.1', 8000, timeout=4); c.request('GET', '/health/live'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["segue"]
CMD ["serve", "/data/bundle", "--host", "0.0.0.0", "--data", "/data/service"]
