# The search service: a gallery mounted at /gallery, HTTP on port 8766.
#   docker build --tag=fos-jax .
#   docker run --rm --read-only --tmpfs=/tmp --init --publish=127.0.0.1:8766:8766 --volume="$PWD/my_gallery:/gallery" fos-jax
# Any other command too: docker run --rm --volume="$PWD/my_gallery:/gallery" fos-jax gallery info --gallery=/gallery
FROM python:3.11-slim AS build
WORKDIR /source
RUN python -m venv /opt/fos
# What the package needs, in the locked versions and without the tools of its developers: a layer that stays until the
# lock changes.
COPY pyproject.toml requirements.lock ./
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print(*p['dependencies'], *p['optional-dependencies']['milvus'], 'setuptools', sep='\n')" > wanted.txt \
    && /opt/fos/bin/pip install --no-cache-dir --constraint=requirements.lock --requirement=wanted.txt
COPY README.md LICENSE NOTICE ./
COPY fos_jax fos_jax
COPY datasets datasets
COPY launch launch
RUN /opt/fos/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
    && /opt/fos/bin/python -m compileall -q /opt/fos/lib

FROM python:3.11-slim
ARG FOS_JAX_COMMIT=""
RUN useradd --uid=10001 --no-create-home --home-dir=/tmp --shell=/usr/sbin/nologin fos \
    && mkdir -m 1777 /cache && mkdir /gallery
COPY --from=build /opt/fos /opt/fos
# Besides the gallery only /tmp and /cache (uploads, compiled programs) are written: the rest may be read-only.
ENV PATH=/opt/fos/bin:$PATH \
    FOS_JAX_COMMIT=$FOS_JAX_COMMIT \
    JAX_PLATFORMS=cpu \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONUNBUFFERED=1 \
    XDG_CACHE_HOME=/cache
VOLUME /cache
USER 10001
WORKDIR /tmp
EXPOSE 8766
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8766/health', timeout=4)"]
ENTRYPOINT ["fos"]
CMD ["serve", "--gallery=/gallery", "--host=0.0.0.0", "--port=8766"]
