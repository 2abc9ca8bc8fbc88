# FixFirst in a container: non-root, nothing writable but the data folder, secrets only from the environment.
FROM python:3.11-slim AS build
WORKDIR /src
COPY requirements.lock ./
RUN python -m venv /opt/fixfirst \
 && /opt/fixfirst/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY bot ./bot
COPY runbooks ./runbooks
RUN /opt/fixfirst/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/fixfirst --create-home fixfirst
COPY --from=build /opt/fixfirst /opt/fixfirst
ENV PATH=/opt/fixfirst/bin:$PATH PYTHONUNBUFFERED=1
USER fixfirst
WORKDIR /var/lib/fixfirst
VOLUME /var/lib/fixfirst
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
ENTRYPOINT ["fixfirst"]
CMD ["serve", "--config", "/etc/fixfirst/fixfirst.toml"]
