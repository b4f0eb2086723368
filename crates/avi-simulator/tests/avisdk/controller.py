"""Access to the controller under test: sessions, plain requests, the control API.

The settings come from the environment, also the password, because every user of the machine can see arguments.

AVI_URL       https://host:port of the controller
AVI_CA_FILE   PEM file of the CA that signed its certificate
AVI_CONTROL   http://host:port of the simulator's control API
AVI_USERNAME, AVI_PASSWORD   an account with all privileges
"""

import logging
import os
import unittest
import uuid
from urllib.parse import urlparse

# After the login avisdk passes `verify` to requests, which prefers these variables. A controller on this machine needs
# no proxy.
for _name in list(os.environ):
    if _name.upper() in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE") or _name.upper().endswith("_PROXY"):
        del os.environ[_name]

logging.getLogger("avi.sdk").setLevel(logging.CRITICAL)

import requests  # noqa: E402  (after the environment is cleaned)
from avi.sdk.avi_api import APIError, ApiSession, ObjectNotFound  # noqa: E402

URL = os.environ["AVI_URL"]
CA = os.environ["AVI_CA_FILE"]
CONTROL = os.environ["AVI_CONTROL"]
USERNAME = os.environ["AVI_USERNAME"]
PASSWORD = os.environ["AVI_PASSWORD"]

VERSION = "30.2.1"
# The last version with the old field names of networks and IPAM profiles.
OLD_VERSION = "20.1.2"
# In seconds. Only a request that hangs takes longer, also on a slow machine.
TIMEOUT = 120


def login(username=USERNAME, password=PASSWORD, **options):
    """Logs in and returns a session of avisdk."""
    address = urlparse(URL)
    options = {"api_version": VERSION, "tenant": "admin", "verify": CA, "timeout": TIMEOUT, **options}
    return ApiSession(address.hostname, username, password, port=address.port, **options)


def http(method, path, **options):
    """Sends a request without avisdk, for headers and errors that it hides."""
    return requests.request(method, URL + path, verify=CA, timeout=TIMEOUT, **options)


class Control:
    """The simulator's control API."""

    @staticmethod
    def _call(method, path, **options):
        reply = requests.request(method, CONTROL + path, timeout=TIMEOUT, **options)
        if reply.status_code >= 300:
            raise AssertionError("control API: %s %s: %s %s" % (method, path, reply.status_code, reply.text))
        return reply.json() if reply.text else None

    def seed(self, objects):
        """Adds objects: a dictionary of kinds to lists of bodies."""
        self._call("POST", "/seed", json=objects)

    def logins(self):
        """Returns the number of logins and of refused logins."""
        logins = self._call("GET", "/logins")
        return logins["total"], logins["failed"]

    def request_count(self, method, path):
        """Returns the number of requests; the path has {uuid} in place of uuids."""
        counters = self._call("GET", "/counters")
        return sum(entry["count"] for entry in counters if (entry["method"], entry["path"]) == (method, path))

    def check(self):
        """Returns the faults of the configuration."""
        return self._call("GET", "/check")

    def expire_sessions(self):
        self._call("POST", "/expire-sessions")

    def upgrade_mode(self, on):
        self._call("PUT", "/upgrade", json=on)

    def advance_clock(self, seconds):
        self._call("POST", "/clock", json=seconds)

    def fault(self, what, **where):
        self._call("POST", "/faults", json={"what": what, **where})

    def clear_faults(self):
        self._call("DELETE", "/faults")


control = Control()


class Case(unittest.TestCase):
    """A test with a session of the administrator: `self.api`."""

    def setUp(self):
        # avisdk caches sessions by account for the whole process.
        ApiSession.clear_cached_sessions()
        self.api = login()
        self.suffix = uuid.uuid4().hex[:8]

    def name(self, what):
        """Returns a name that no other test and no other run uses."""
        return "%s-%s" % (what, self.suffix)

    def create(self, kind, name, tenant="", **fields):
        """Creates an object and returns it."""
        body = {"name": self.name(name), **fields}
        reply = self.api.post(kind, data=body, tenant=tenant)
        self.assertEqual(reply.status_code, 201, reply.text)
        return reply.json()

    def read(self, kind, uuid, **options):
        reply = self.api.get("%s/%s" % (kind, uuid), **options)
        self.assertEqual(reply.status_code, 200, reply.text)
        return reply.json()

    def names(self, kind, tenant="", **params):
        """Returns the names of a list, in its order."""
        found = self.api.get_objects_iter(kind, tenant=tenant, params=params)
        return [entry["name"] for entry in found]

    def assertRefused(self, reply, status, text=""):
        """Checks a refusal. avisdk returns the reply and raises only when its body is read."""
        self.assertEqual(reply.status_code, status, reply.text)
        self.assertIn(text, reply.text)
        with self.assertRaises((APIError, ObjectNotFound)):
            reply.json()

    def user(self, name, role, tenant="admin", **fields):
        """Creates an account with a role in a tenant. Returns its username and password."""
        username, password = self.name(name), "Secret-%s-1" % uuid.uuid4().hex
        body = {"username": username, "password": password, **fields}
        access = {"role_ref": "/api/role/?name=%s" % role, "tenant_ref": "/api/tenant/?name=%s" % tenant}
        self.create("user", name, access=[access], default_tenant_ref=access["tenant_ref"], **body)
        return username, password

    def assertLoginRefused(self, *arguments, **options):
        with self.assertRaises(APIError) as refused:
            login(*arguments, **options)
        self.assertEqual(refused.exception.rsp.status_code, 401)
