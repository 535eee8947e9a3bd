"""Every rule of baseline and profiles, and edits of the example that break it."""

from .config_edits import GONE, SAMPLED

FROZEN = (
    "DP-001 DP-002 DP-003 DP-004 DP-005 DP-006 DP-007 DP-008 DP-009 DP-010 DP-011 DP-012 DP-013 "
    "DP-014 CON-001 CON-003 CON-004 CON-010 CON-011 CON-012 CON-013 CON-014 CON-020 CON-022 "
    "CON-023 FEA-001 FEA-002 FEA-003 FEA-004 FEA-005 TAX-001 TAX-002 TAX-003 TAX-004 DOC-001 "
    "ADM-001 AGG-001 AGG-002 AGG-003 AGG-004 TLS-001 TLS-002 REL-001 REL-002 RET-001 RGT-001 "
    "TRN-001 LED-002 APP-001 TXT-001 GDPR-001 GDPR-002 GDPR-003 GDPR-004 GDPR-005 GDPR-006 "
    "GDPR-007 GDPR-008 CCPA-001 CCPA-002 CCPA-003 CCPA-004 HLT-001 HLT-002 HLT-003 HLT-004 HLT-005 "
    "HLT-006 MED-001 MED-002 MED-003 MED-004"
)
"""Every id there ever was: none is taken out or given to another rule, new ones come at the end."""

STARRED = (
    "DP-001 DP-003 DP-004 DP-005 DP-007 DP-008 DP-010 DP-011 DP-012 DP-013 CON-010 CON-011 CON-020 "
    "FEA-002 FEA-005 ADM-001 RGT-001 TXT-001"
)
"""Premises and legal bars of the design: no waiver lifts them."""

SPECIAL: dict[str, object] = {"features.tastes.sensitivity": "special"}
_FEW: dict[str, object] = {"rights.retrain_every_days": 60}

TRIED: dict[str, list[tuple[dict[str, object], str]]] = {
    "DP-001": [({"dp.mechanism": "none"}, "dp.mechanism")],
    "DP-002": [({"dp.epsilon_max": 4.5}, "dp.epsilon_max")],
    "DP-003": [({"dp.unit": "record"}, "dp.unit")],
    "DP-004": [({"dp.delta": 1e-5}, "dp.delta"), ({"dp.delta": 1e-6}, "dp.delta")],
    "DP-005": [({"dp.mechanism": "none", "dp.record.enabled": True}, "dp.mechanism")],
    "DP-006": [({"dp.budget_scope": "run"}, "dp.budget_scope")],
    "DP-007": [({"dp.amplification": True}, "dp.amplification")],
    "DP-008": [({"dp.noise_multiplier": 7.0}, "dp.noise_multiplier")],
    "DP-009": [({"dp.noise_by": "devices"}, "dp.noise_by")],
    "DP-010": [
        ({**SAMPLED, "dp.sampling": "none"}, "dp.sampling"),
        ({**SAMPLED, "dp.cohort_cap": 1_100}, "dp.cohort_cap"),
        ({"dp.sampling": "poisson"}, "dp.sampling"),
    ],
    "DP-011": [
        ({"dp.blt": {"theta": [0.9], "omega": [-0.2]}}, "dp.blt"),
        ({"dp.blt": {"theta": [1.01], "omega": [0.2]}}, "dp.blt"),
        ({"dp.max_rounds_per_device": 6}, "dp.max_rounds_per_device"),
    ],
    "DP-012": [({"dp.adjacency": "replace_one"}, "dp.adjacency")],
    "DP-013": [
        ({"dp.tuning_data": "private"}, "dp.tuning_runs"),
        ({"dp.adaptive_clip": True}, "dp.adaptive_clip"),
    ],
    "DP-014": [(_FEW, "dp.epsilon_max")],
    "CON-001": [({"consent.expiry_days": 396}, "consent.expiry_days")],
    "CON-003": [({"consent.honour_gpc": False}, "consent.honour_gpc")],
    "CON-004": [({"consent.min_age": 12}, "consent.min_age")],
    "CON-010": [({"purposes.metrics.default": "on"}, "purposes.metrics.default")],
    "CON-011": [
        ({"purposes.training.legal_basis": "contract"}, "purposes.training.legal_basis"),
    ],
    "CON-012": [
        ({"purposes.recommend.legal_basis": "contract"}, "purposes.recommend.reason"),
    ],
    "CON-013": [({"purposes.metrics.requires": ["sharing"]}, "purposes.metrics.requires")],
    "CON-014": [({"purposes.recommend.requires": ["training"]}, "purposes.*.requires")],
    "CON-020": [
        ({"consent.signals": ["os_setting"]}, "consent.signals"),
        ({"consent.honour_gpc": False}, "consent.honour_gpc"),
    ],
    "CON-022": [({"consent.notices.en.sha256": "0" * 64}, "consent.notices.en.sha256")],
    "CON-023": [({"consent.grace_days": 31}, "consent.grace_days")],
    "FEA-001": [({"features.tastes.allow": ["sharing"]}, "features.tastes.allow")],
    "FEA-002": [
        ({**SPECIAL, "features.tastes.risk_ref": "R-4"}, "features.tastes.allow"),
        (
            {"features.tastes.sensitivity": "criminal", "features.tastes.risk_ref": "R-4"},
            "features.tastes.allow",
        ),
    ],
    "FEA-003": [({"features.tastes.allow": []}, "features.tastes.allow")],
    "FEA-004": [({"features.purchases.risk_ref": " "}, "features.purchases.risk_ref")],
    "FEA-005": [
        ({"features.tastes.fields": ["topic", "email_hash"]}, "features.tastes.fields"),
        (
            {"features.tastes.fides_category": "user.unique_id.pseudonymous"},
            "features.tastes.fides_category",
        ),
        ({"features.tastes.dpv_category": "pd:EmailAddress"}, "features.tastes.dpv_category"),
    ],
    "TAX-001": [({"purposes.metrics.fides_use": "analytics.all"}, "purposes.metrics.fides_use")],
    "TAX-002": [
        ({"features.tastes.fides_category": "user.mood"}, "features.tastes.fides_category"),
    ],
    "TAX-003": [
        ({"purposes.metrics.dpv_purpose": "dpv:Improve"}, "purposes.metrics.dpv_purpose"),
    ],
    "TAX-004": [({"features.tastes.dpv_category": "Preference"}, "features.tastes.dpv_category")],
    "DOC-001": [({"activity.dpia_ref": ""}, "activity.dpia_ref")],
    "ADM-001": [
        ({"transparency.significant_decision": True}, "transparency.significant_decision"),
    ],
    "AGG-001": [({"aggregation.secagg": False}, "aggregation.secagg")],
    "AGG-002": [
        ({"aggregation.report_goal": 99}, "aggregation.report_goal"),
        ({"aggregation.report_goal": GONE}, "aggregation.report_goal"),
    ],
    "AGG-003": [
        ({"dp.cohort_size": 200, "aggregation.report_goal": 201}, "aggregation.report_goal")
    ],
    "AGG-004": [
        ({"activity.population": 99_999}, "dp.rounds"),
        ({"activity.population": 900}, "dp.cohort_size"),
        (
            {"activity.population": 80_000, "dp.rounds": 400, "dp.max_rounds_per_device": 4},
            "dp.rounds",
        ),
        ({"activity.population": 99_000, "dp.rounds": 460}, "dp.min_separation"),
    ],
    "TLS-001": [({"transport.tls_min": "1.2"}, "transport.tls_min")],
    "TLS-002": [({"transport.ip_log": "full"}, "transport.ip_log")],
    "REL-001": [({"release.min_k": 19}, "release.min_k")],
    "REL-002": [
        ({"release.requires": ["audit_passed"]}, "release.requires"),
        ({"release.requires": ["ledger_verified"]}, "release.requires"),
    ],
    "RET-001": [({"retention.server_updates_hours": 25}, "retention.server_updates_hours")],
    "RGT-001": [({"rights.trained_model": "unlearn"}, "rights.trained_model")],
    "TRN-001": [
        ({"transparency.non_profiling_option": False}, "transparency.non_profiling_option"),
    ],
    "LED-002": [({"ledger.witness": "none"}, "ledger.witness")],
    "APP-001": [
        ({"approval.required": 1}, "approval.required"),
        ({"approval.approvers": ["one@example.org"] * 2}, "approval.approvers"),
    ],
    "TXT-001": [
        ({"purposes.training.title": "Anonymous training"}, "purposes.training.title"),
        ({"activity.name": "Zero risk suggestions"}, "activity.name"),
        (
            {"transparency.main_parameters": ["your data never leaves"]},
            "transparency.main_parameters",
        ),
    ],
    "GDPR-001": [({"consent.notices": {}}, "consent.notices")],
    "GDPR-002": [({"activity.authority": ""}, "activity.authority")],
    "GDPR-003": [
        ({"consent.receipts_years": 1, "consent.expiry_days": 366}, "consent.receipts_years"),
    ],
    "GDPR-004": [
        (
            {
                **SPECIAL,
                "features.tastes.allow": ["recommend"],
                "purposes.recommend.legal_basis": "contract",
            },
            "purposes.recommend.legal_basis",
        ),
    ],
    "GDPR-005": [
        (
            {"features.tastes.fides_category": "user.health_and_medical"},
            "features.tastes.sensitivity",
        ),
    ],
    "GDPR-006": [({"features.tastes.user_editable": False}, "features.tastes.user_editable")],
    "GDPR-007": [({"consent.min_age": 15}, "consent.min_age")],
    "GDPR-008": [({"consent.reach_back": True}, "consent.reach_back")],
    "CCPA-001": [({"consent.honour_gpc": False}, "consent.honour_gpc")],
    "CCPA-002": [({"consent.signals": []}, "consent.signals")],
    "CCPA-003": [({"activity.recipients": ["Example Media Ltd"]}, "consent.refusal_days")],
    "CCPA-004": [({"activity.jurisdictions": ["EU"]}, "activity.jurisdictions")],
    "HLT-001": [({}, "dp.epsilon_max")],
    "HLT-002": [({}, "features.purchases.allow")],
    "HLT-003": [({}, "features.purchases.ttl_days")],
    "HLT-004": [({"retention.server_updates_hours": 1}, "retention.server_updates_hours")],
    "HLT-005": [
        (
            {"features.tastes.fides_category": "user.biometric.health"},
            "features.tastes.sensitivity",
        ),
    ],
    "HLT-006": [({}, "release.min_k")],
    "MED-001": [
        ({"transparency.non_profiling_option": False}, "transparency.non_profiling_option"),
    ],
    "MED-002": [
        (
            {"features.tastes.fides_category": "user.behavior.media_consumption"},
            "features.tastes.sensitivity",
        ),
    ],
    "MED-003": [({"features.tastes.user_editable": False}, "features.tastes.user_editable")],
    "MED-004": [({"features.purchases.ttl_days": 366}, "features.purchases.ttl_days")],
}
CASES = [(rule, edits, path) for rule, tries in TRIED.items() for edits, path in tries]
