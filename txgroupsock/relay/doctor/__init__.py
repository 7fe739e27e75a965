"""
Why does a stream not arrive, or leak?  What the relay and its host can tell about that.

Everything that is read may be missing: what cannot be read is not known, and never an error.
"""

from txgroupsock.relay.doctor.examination import SECONDS, Patient, examine
from txgroupsock.relay.doctor.finding import Diagnosis, Finding, hasFault
from txgroupsock.relay.doctor.host import Host
from txgroupsock.relay.doctor.report import reportJSON, reportText

__all__ = [
    "SECONDS",
    "Diagnosis",
    "Finding",
    "Host",
    "Patient",
    "examine",
    "hasFault",
    "reportJSON",
    "reportText",
]
