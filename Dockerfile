# Serves an area from a wheel: nothing is compiled, nothing of the source tree is copied.
#
#   uv build --wheel                      (or: python -m build --wheel)
#   docker build -t chorograph .
#   docker run -p 127.0.0.1:8000:8000 -v ./my-place:/area -v ./token:/run/secrets/token:ro chorograph
#
# ./my-place is an area's folder, or one that holds it and its runs, which are served too.
# The token (16 or more characters) stands in the file ./token; open http://127.0.0.1:8000/?token=…
# Builders of OCI images (buildah, podman) drop the health check unless told --format docker.
# Search by words needs the model: --build-arg EXTRAS=serve,models (adds torch).
FROM python:3.12-slim

ARG EXTRAS=serve
COPY dist/chorograph-*.whl /wheels/
RUN python -m pip install --no-cache-dir "$(ls /wheels/chorograph-*.whl)[${EXTRAS}]" && rm -r /wheels

# No process of root's; the area's folder must be writable by this user for ratings and its cache.
RUN useradd --uid 10001 --create-home chorograph
USER chorograph
WORKDIR /home/chorograph

EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["chorograph"]
CMD ["serve", "/area", "--host", "0.0.0.0", "--port", "8000", "--name", "127.0.0.1", "--name", "localhost", "--token-file", "/run/secrets/token"]
