# One image for every role: web, worker, beat and the migration (docker-compose.yml).

FROM python:3.12-slim AS messages
# Only this stage needs the catalogue compiler: take its lines, hashes included, out of the demo's lock.
WORKDIR /build
COPY requirements/demo.txt ./
RUN awk '/^[^ #]/ { keep = /^babel==/ } keep' demo.txt > babel.txt \
    && pip install --no-cache-dir --require-hashes -r babel.txt
COPY locale locale
RUN pybabel compile --directory locale --domain django

FROM python:3.12-slim
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
RUN useradd --system --uid 10001 --user-group --home-dir /app --shell /usr/sbin/nologin notifyguard
WORKDIR /app
COPY requirements/production.txt requirements/production.txt
RUN pip install --no-cache-dir --require-hashes -r requirements/production.txt
COPY manage.py ./
COPY notifyguard notifyguard
COPY providers providers
COPY deliveries deliveries
COPY templates templates
COPY static static
COPY --from=messages /build/locale locale
# collectstatic needs no secret: the settings ask for none when it runs.
RUN python manage.py collectstatic --noinput
USER notifyguard
EXPOSE 8000
# No access log: the path of a webhook holds its token. gthread: a slow client holds a thread, not a process.
CMD ["gunicorn", "notifyguard.wsgi:application", "--bind", "0.0.0.0:8000", "--worker-class", "gthread", \
     "--workers", "2", "--threads", "8", "--no-control-socket", "--worker-tmp-dir", "/dev/shm"]
