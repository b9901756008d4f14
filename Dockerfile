# Meterhouse with all that it needs, for one process or for several (docs/operations.md).
ARG PYTHON=3.11-slim-trixie

FROM python:${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/meterhouse
ENV PATH=/opt/meterhouse/bin:$PATH
COPY requirements/cluster.txt /build/requirements/
RUN pip install --require-hashes --requirement /build/requirements/cluster.txt
COPY pyproject.toml README.md LICENSE /build/
COPY src /build/src
RUN pip install --no-deps --no-build-isolation /build

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="Meterhouse" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin meterhouse && \
    install --directory --mode=0700 --owner=meterhouse --group=meterhouse /data
COPY --from=build /opt/meterhouse /opt/meterhouse
ENV PATH=/opt/meterhouse/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    METERHOUSE_HOST=0.0.0.0 \
    METERHOUSE_PORT=12111 \
    METERHOUSE_DATA_DIR=/data
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 12111
# A start with a long journal behind it may take a while until it answers.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=1s CMD \
    ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['METERHOUSE_PORT'] + '/healthz', timeout=4)"]
ENTRYPOINT ["meterhouse"]
CMD ["serve"]
