"""What the queue of customers' feedback calls with each batch (an AWS Lambda)."""

import logging

import boto3

ON_CALL = "arn:aws:sns:eu-central-1:123456789012:storefront-on-call"
THRESHOLD = 0.6
logger = logging.getLogger(__name__)


def handler(event: dict, context: object) -> None:
    scores = [float(record["sentiment"]) for record in event["Records"]]
    score = sum(scores) / len(scores)
    if score < THRESHOLD:
        logger.info("Sentiment dropped to %.2f. Somebody reads the feedback.", score)
        boto3.client("sns").publish(TopicArn=ON_CALL, Message=f"Sentiment dropped to {score:.2f}: read the feedback.")
